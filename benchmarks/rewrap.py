"""Re-wrap: a large file in place and as a new one beside cp, many small envelopes, an upload without a KMS.

    python benchmarks/rewrap.py [GIB] [ENVELOPES] [FOLDER]

Each step on the large file runs in a process of its own; what it wrote and read comes from /proc/self/io
(wchar, rchar: bytes passed to write and read calls; write_bytes: bytes that the process caused to be sent to
the disk). The page cache holds what it can; before each step dirty pages are flushed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine

GIB, MIB = 1 << 30, 1 << 20
GROUP = 1000


def io() -> dict[str, int]:
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}


def measured(name: str, work: Callable[[], Any]) -> Any:
    os.sync()
    before, start = io(), time.perf_counter()
    result = work()
    seconds, after = time.perf_counter() - start, io()
    grown = {key: after[key] - before[key] for key in ("wchar", "rchar", "write_bytes")}
    parts = ", ".join(f"{key} {value:,}" for key, value in grown.items())
    print(f"{name:34} {seconds:9.3f} s   {parts}", flush=True)
    return result


def copied(source: Path, target: Path) -> None:
    """As cp does where blocks cannot be shared, and flushed as a re-wrap is."""
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(MIB):
            writing.write(block)
        writing.flush()
        os.fsync(writing.fileno())


def run_step(folder: Path, step: str) -> None:
    from kmsenvelope import EnvelopeClient, LocalKms

    sealed = folder / "sealed"
    with LocalKms(folder / "keys.db") as kms:
        keys = {name: kms.key(name) for name in ("old", "new", "third")}
        if step == "seal":
            with EnvelopeClient(keys["old"]) as client:
                client.encrypt_file(folder / "plain", sealed)
        elif step == "cp":
            measured("copy (read, write, fsync)", lambda: copied(sealed, folder / "copy"))
        elif step == "in place":
            with EnvelopeClient(keys["old"]) as client:
                done = measured("re-wrap in place", lambda: client.rewrap_file(sealed, [keys["new"]]))
                print(f"{'':34} {done.outcome}, KMS calls {done.calls}")
        elif step == "new file":
            with EnvelopeClient(keys["new"]) as client:
                wanted = [keys["new"], keys["third"]]
                done = measured("re-wrap into a new file", lambda: client.rewrap_file(sealed, wanted))
                print(f"{'':34} {done.outcome}, KMS calls {done.calls}")
        elif step == "verify":
            with EnvelopeClient(keys["third"]) as client:
                measured("verify_file with the third key", lambda: client.verify_file(sealed))


def large_file(folder: Path, gib: float) -> None:
    block = os.urandom(MIB)
    with (folder / "plain").open("wb") as file:
        for _ in range(int(gib * 1024)):
            file.write(block)
    step(folder, "seal")
    (folder / "plain").unlink()
    print(f"\na file of {gib:g} GiB ({(folder / 'sealed').stat().st_size:,} bytes sealed)")
    step(folder, "cp")
    (folder / "copy").unlink()
    start = time.perf_counter()
    subprocess.run(["cp", folder / "sealed", folder / "copy"], check=True)
    subprocess.run(["sync", folder / "copy"], check=True)
    print(f"{'cp, then sync':34} {time.perf_counter() - start:9.3f} s")
    (folder / "copy").unlink()
    for name in ("in place", "new file", "verify"):
        step(folder, name)


def step(folder: Path, name: str) -> None:
    subprocess.run([sys.executable, __file__, "--step", folder, name], check=True)


def small_envelopes(folder: Path, count: int) -> None:
    from kmsenvelope import CachePolicy, EnvelopeClient, LocalKms

    with LocalKms(folder / "keys.db") as kms:
        policy = CachePolicy(max_messages=GROUP, refresh_ahead=None)
        with EnvelopeClient(kms.key("old"), cache=policy) as writer:
            blobs = [writer.encrypt(b"a row of a table", aad=b"row %d" % row) for row in range(count)]
        with EnvelopeClient(kms.key("old")) as client:
            start = time.perf_counter()
            new = [kms.key("new")]
            moved = [client.rewrap(blob, new, aad=b"row %d" % row) for row, blob in enumerate(blobs)]
            seconds = time.perf_counter() - start
            calls = client.stats()["kms_calls"]
        print(f"\n{count:,} envelopes in memory, {GROUP:,} under each data key")
        print(f"{'re-wrap':34} {seconds:9.3f} s   {count / seconds:,.0f} a second, KMS calls {calls}")
        with EnvelopeClient(kms.key("new")) as reader:
            for row, blob in enumerate(moved):
                assert reader.decrypt(blob, aad=b"row %d" % row) == b"a row of a table"

        small = folder / "small"
        small.mkdir()
        for row, blob in enumerate(blobs[: count // 10]):
            (small / f"{row}.kmse").write_bytes(blob)
        with EnvelopeClient(kms.key("old")) as client:
            start = time.perf_counter()
            results = list(client.rewrap_files([small], new, aad=None))
            seconds = time.perf_counter() - start
            calls = client.stats()["kms_calls"]
        assert {result.outcome for result in results} <= {"new file"}
        print(f"\n{len(results):,} such envelopes in files, each flushed to the disk")
        rate = len(results) / seconds
        print(f"{'re-wrap':34} {seconds:9.3f} s   {rate:,.0f} a second, KMS calls {calls}")


UPLOADER = """
import sys, time
from kmsenvelope import EnvelopeClient
from kmsenvelope.kms.public import PublicKey
pem, key_id, source, destination = sys.argv[1:]
with EnvelopeClient(PublicKey.from_pem(open(pem).read(), key_id=key_id, kms="local")) as client:
    start = time.perf_counter()
    client.encrypt_file(source, destination)
    print(f"{time.perf_counter() - start:9.3f} s   KMS calls {client.stats()['kms_calls'] or 'none'}")
"""


def uploader(folder: Path, gib: float) -> None:
    from kmsenvelope import EnvelopeClient, LocalKms

    block = os.urandom(MIB)
    with (folder / "plain").open("wb") as file:
        for _ in range(int(gib * 1024)):
            file.write(block)
    print(f"\n{gib:g} GiB from an uploader with nothing but a public key and an empty environment")
    with LocalKms(folder / "keys.db") as kms:
        for kind in ("rsa", "sm2"):
            usage = {"rsa": "ASYMMETRIC_DECRYPT_RSA_2048", "sm2": "ASYMMETRIC_DECRYPT_SM2"}[kind]
            key = kms.key(kms.create_key(kind, usage=usage))
            (folder / "pem").write_text(kms.public_key(kind).to_pem())
            arguments = [folder / "pem", key.key_id, folder / "plain", folder / "upload"]
            print(f"{'uploader, ' + kind:34} ", end="", flush=True)
            subprocess.run([sys.executable, "-c", UPLOADER, *arguments], env={"HOME": folder}, check=True)
            with EnvelopeClient(key) as client:
                client.decrypt_file(folder / "upload", folder / "back")
                print(f"{'':34} opened with {client.stats()['kms_calls']}")
            subprocess.run(["cmp", folder / "plain", folder / "back"], check=True)
            (folder / "upload").unlink()
            (folder / "back").unlink()


def main() -> None:
    gib = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    parent = sys.argv[3] if len(sys.argv) > 3 else None
    from kmsenvelope import LocalKms

    print(machine.describe())
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        with LocalKms(folder / "keys.db") as kms:
            for alias in ("old", "new", "third"):
                kms.create_key(alias)
        small_envelopes(folder, count)
        uploader(folder, min(gib, 1))
        large_file(folder, gib)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        run_step(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
