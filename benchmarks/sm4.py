"""SM4-GCM throughput of each provider, through ``ChunkCipher``: one run of 64 chunks of 16 KiB at a time.

    python benchmarks/sm4.py [--threads 1 2] [--turns 7] [--seconds 0.1]

Providers and thread counts take turns, so that a busy machine slows all of them alike; the ratios of one run
are what to quote. Every thread has its own cipher and buffers. The table is Markdown; 1 MB is 10**6 bytes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import threading
import time

from machine import describe

from kmsenvelope.chunked import CHUNK, SEALED, ChunkCipher, derive
from kmsenvelope.ciphers.select import VARIABLE, sm4_providers, sm4_status
from kmsenvelope.suites import Suite

RUN = 64
DIRECTIONS = ("seal", "open")


def cipher() -> ChunkCipher:
    return ChunkCipher(Suite.SM4_GCM, derive(Suite.SM4_GCM, bytes(16), bytes(24), b""))


def work(direction: str, seconds: float, start: threading.Barrier, done: list[int]) -> None:
    """Seal or open runs for about ``seconds``; appends the bytes of plaintext that went through."""
    chunks, data, sealed, count = cipher(), bytearray(RUN * CHUNK), bytearray(RUN * SEALED), 0
    chunks.seal_run(0, data, sealed)
    start.wait()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        if direction == "seal":
            chunks.seal_run(0, data, sealed)
        else:
            chunks.open_run(0, sealed, data)
        count += RUN * CHUNK
    done.append(count)


def measure(direction: str, threads: int, seconds: float) -> float:
    """MB/s of ``threads`` threads together."""
    start, done = threading.Barrier(threads + 1), list[int]()
    workers = [threading.Thread(target=work, args=(direction, seconds, start, done)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - began) / 1e6


def same_bytes(names: list[str]) -> bool:
    data, outputs = os.urandom(RUN * CHUNK), set()
    for name in names:
        os.environ[VARIABLE] = name
        out = bytearray(RUN * SEALED)
        cipher().seal_run(0, data, out)
        outputs.add(bytes(out))
    return len(outputs) == 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1)
    options = parser.parse_args()
    names = [provider.name for provider in reversed(sm4_providers()) if provider.make]
    print(describe())
    for status in sm4_status():
        print(f"- {status}")
    print(f"- same bytes from all: {'yes' if same_bytes(names) else 'NO'}\n")

    cases = list(itertools.product(names, DIRECTIONS, options.threads))
    rates: dict[tuple[str, str, int], list[float]] = {case: [] for case in cases}
    for _ in range(options.turns):
        for case in cases:
            os.environ[VARIABLE] = case[0]
            rates[case].append(measure(case[1], case[2], options.seconds))

    print("| provider | direction | threads | best MB/s | median | x openssl | x 1 thread |")
    print("|---|---|---|---|---|---|---|")
    for case in cases:
        name, direction, threads = case
        best = max(rates[case])
        to_openssl = best / max(rates["openssl", direction, threads])
        to_one = best / max(rates[name, direction, options.threads[0]])
        speed = f"{best:,.0f} | {statistics.median(rates[case]):,.0f}"
        print(f"| {name} | {direction} | {threads} | {speed} | {to_openssl:.1f} | {to_one:.2f} |")


if __name__ == "__main__":
    main()
