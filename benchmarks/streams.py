"""Streams and random reads beside bare Cobblestone doing the same reads and writes, best of many in turn.

python benchmarks/streams.py [--rounds 15] [--mib 64] [--random-mib 1024] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import MIB, best_loops, figure, save, size_name, table
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

from kmsenvelope import EnvelopeClient, LocalKms

STEPS = (16_384, 65_536, MIB)
READS = 10_000
KEY, CONTEXT = bytes(32), bytes(20)


class Nowhere:
    """A sink that costs nothing."""

    def write(self, data: bytes) -> int:
        return len(data)


def columns(
    client: EnvelopeClient, folder: Path, mib: int
) -> dict[tuple[str, int], tuple[Callable[[], object], Callable[[], object]]]:
    """(What, step) to ours and the bare cipher's."""
    block, size = os.urandom(MIB), mib * MIB
    ours, theirs = folder / "ours", folder / "theirs"

    def write_ours(step: int, sink: object, data: memoryview | bytes = block) -> None:
        piece = data[:step]
        with client.open(sink, "wb") as writer:  # type: ignore[call-overload]
            for _ in range(size // step):
                writer.write(piece)

    def write_bare(step: int, sink: Nowhere) -> None:
        piece, cipher = memoryview(block)[:step], Cobblestone256Encryptor(KEY, CONTEXT)
        for _ in range(size // step):
            sink.write(cipher.update(piece))
        sink.write(cipher.finalize())

    def read_ours(step: int) -> None:
        with client.open(ours) as reader:
            while reader.read(step):
                pass

    def read_bare(step: int) -> None:
        cipher = Cobblestone256Decryptor(KEY, CONTEXT)
        with theirs.open("rb") as file:
            while data := file.read(step):
                cipher.update(data)
        cipher.finalize()

    write_ours(MIB, ours)
    with theirs.open("wb") as file:
        write_bare(MIB, file)  # type: ignore[arg-type]
    made: dict[tuple[str, int], tuple[Callable[[], object], Callable[[], object]]] = {}
    for step in STEPS:
        made["write", step] = (
            lambda step=step: write_ours(step, Nowhere(), memoryview(block)),
            lambda step=step: write_bare(step, Nowhere()),
        )
        made["read", step] = (lambda step=step: read_ours(step), lambda step=step: read_bare(step))
    return made


def stream_rows(client: EnvelopeClient, folder: Path, mib: int, rounds: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for (what, step), (ours, bare) in columns(client, folder, mib).items():
        seconds = best_loops({"ours": ours, "bare": bare}, rounds, 0.01)
        rates = [f"{mib * MIB / seconds[name] / 1e9:.2f}" for name in ("ours", "bare")]
        rows.append(
            [f"{what}, steps of {size_name(step)}", *rates, f"{seconds['ours'] / seconds['bare']:.2f}"]
        )
    return rows


def small_writes(client: EnvelopeClient, rounds: int) -> list[object]:
    """100-byte writes, beside Python's own buffered file on /dev/null."""
    piece, count = bytes(100), 50_000

    def ours() -> None:
        with client.open(Nowhere(), "wb") as writer:  # type: ignore[call-overload]
            for _ in range(count):
                writer.write(piece)

    def plain() -> None:
        with open("/dev/null", "wb") as writer:
            for _ in range(count):
                writer.write(piece)

    seconds = best_loops({"ours": ours, "bare": plain}, rounds, 0.01)
    rates = [f"{count * 100 / seconds[name] / 1e9:.2f}" for name in ("ours", "bare")]
    return ["100-byte writes, beside open('/dev/null')", *rates, f"{seconds['ours'] / seconds['bare']:.2f}"]


def random_reads(client: EnvelopeClient, folder: Path, mib: int) -> tuple[list[float], float, float]:
    """Latencies of reads of 100 bytes; GB/s of reading on from the start and from the middle."""
    path = folder / "large"
    block = os.urandom(MIB)
    with client.open(path, "wb") as writer:
        for _ in range(mib):
            writer.write(block)
    chooser, latencies = random.Random(1), []
    with client.open(path) as reader:
        for _ in range(READS):
            offset = chooser.randrange(mib * MIB - 100)
            start = time.perf_counter()
            reader.seek(offset)
            reader.read(100)
            latencies.append(time.perf_counter() - start)

        def from_offset(offset: int) -> None:
            reader.seek(offset)
            for _ in range(mib // 2):
                reader.read(MIB)

        seconds = best_loops(
            {"start": lambda: from_offset(0), "middle": lambda: from_offset(mib * MIB // 2)}, 9, 0.01
        )
    rate = mib // 2 * MIB / 1e9
    return latencies, rate / seconds["start"], rate / seconds["middle"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--random-mib", type=int, default=1024)
    parser.add_argument("--folder")
    options = parser.parse_args()
    kms = LocalKms()
    client = EnvelopeClient(kms.key(kms.create_key("bench")))
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        rows = stream_rows(client, Path(name), options.mib, options.rounds)
        rows.append(small_writes(client, options.rounds))
        head = ["AES-256-GCM", "GB/s", "bare cipher GB/s", "x bare"]
        save("streams", table(head, rows), rows, "The bare cipher is cryptography's Cobblestone.")
        latencies, start, middle = random_reads(client, Path(name), options.random_mib)
    ordered = sorted(latencies)
    facts = [
        ["reads of 100 bytes per second", f"{READS / sum(latencies):,.0f}"],
        *(
            [f"latency, {label}", f"{ordered[int(len(ordered) * share)] * 1e6:.1f} us"]
            for label, share in (("median", 0.5), ("99 %", 0.99), ("99.9 %", 0.999))
        ),
        ["reading on from the start", f"{start:.2f} GB/s"],
        ["reading on after a seek to the middle", f"{middle:.2f} GB/s"],
    ]
    note = f"{READS:,} reads at random places of a file of {options.random_mib} MiB in page cache."
    save("random", table(["random access", "value"], facts), facts, note)
    plot(ordered)


def plot(ordered: list[float]) -> None:
    _, axes, finish = figure("random-reads", 7, 3.5)
    micros = [value * 1e6 for value in ordered]
    axes.plot(micros, [(number + 1) / len(micros) for number in range(len(micros))], color="#c0392b")
    axes.set_xscale("log")
    axes.axvline(statistics.median(micros), color="grey", linewidth=0.8)
    axes.set_xlabel("microseconds for seek and read of 100 bytes (log scale)")
    axes.set_ylabel("share of reads")
    finish()


if __name__ == "__main__":
    main()
