"""A large file both ways, with time and peak memory of each step in a process of its own.

    python benchmarks/large_file.py [GIB] [SUITE] [FOLDER]

Each step prints seconds and the growth of the process's peak memory over an idle one that has the same
modules loaded and has handled one small envelope. ``cp`` comes first. Each step runs once: with files near
the size of memory the disk and the kernel decide the time, and only the memory compares.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine

MIB, GIB = 1 << 20, 1 << 30


def steps(folder: Path, suite: str) -> dict[str, Callable[[], object]]:
    from kmsenvelope import connect

    client = connect(f"local:{folder / 'keys.db'}#bench", suite=suite)
    client.decrypt(client.encrypt(b"warm"))
    plain, sealed, back = folder / "plain", folder / "sealed", folder / "back"

    def read_end() -> None:
        with client.open(sealed) as reader:
            reader.seek(-1000, 2)
            data = reader.read(100)
        with plain.open("rb") as file:
            file.seek(-1000, 2)
            assert file.read(100) == data

    def copy() -> None:
        subprocess.run(["cp", "--reflink=never", plain, back], check=True)
        back.unlink()

    return {
        "cp": copy,
        "encrypt_file": lambda: client.encrypt_file(plain, sealed),
        "verify_file": lambda: client.verify_file(sealed),
        "read 100 bytes near the end": read_end,
        "decrypt_file": lambda: client.decrypt_file(sealed, back),
    }


def run_step(folder: Path, suite: str, name: str) -> None:
    step = steps(folder, suite)[name]
    before = memory("VmRSS")
    start = time.perf_counter()
    step()
    seconds = time.perf_counter() - start
    grown = (memory("VmHWM") - before) / 1024
    print(f"{name:30} {seconds:9.4f} s   peak memory +{grown:.1f} MiB", flush=True)


def memory(name: str) -> int:
    """KiB, from Linux. getrusage would also count the process that this one was forked from."""
    match = re.search(name + r":\s+([0-9]+)", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1])


def main() -> None:
    gib = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    suite = sys.argv[2] if len(sys.argv) > 2 else "AES-256-GCM"
    parent = sys.argv[3] if len(sys.argv) > 3 else None
    from kmsenvelope import LocalKms

    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        with LocalKms(folder / "keys.db") as kms:
            kms.create_key("bench")
        block = os.urandom(MIB)
        with (folder / "plain").open("wb") as file:
            for number in range(int(gib * GIB) // MIB):
                file.write(number.to_bytes(8, "big") + block[8:])
        print(machine.describe())
        print(f"{gib:g} GiB, {suite}")
        for step in ("cp", "encrypt_file", "verify_file", "read 100 bytes near the end", "decrypt_file"):
            subprocess.run([sys.executable, __file__, "--step", name, suite, step], check=True)
        subprocess.run(["cmp", folder / "plain", folder / "back"], check=True)
        print("plain and decrypted files are the same")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        run_step(Path(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        main()
