"""64 threads over a KMS that takes 50 ms: how long ``encrypt`` takes with refresh-ahead on and off.

    python benchmarks/cache_latency.py [--threads N] [--seconds S] [--window S] [--latency S] [--pause S]

The threads start together on an empty cache. Each encrypts 1 KiB, pauses, and again: the load stays below
what the processor can do, so that what is measured is the cache and not the queue for the interpreter. The
first message of each thread is counted apart: it pays for the first call.
"""

from __future__ import annotations

import argparse
import os
import threading
import time

import machine

from kmsenvelope import CachePolicy, EnvelopeClient, LocalKms


class SlowKey:
    """A CMK whose every call takes ``latency`` seconds more, as over a network."""

    def __init__(self, key: object, latency: float) -> None:
        self._key = key
        self._latency = latency

    def __str__(self) -> str:
        return str(self._key)

    def __getattr__(self, name: str) -> object:
        return getattr(self._key, name)

    def generate(self, *args: object) -> object:
        time.sleep(self._latency)
        return self._key.generate(*args)

    def wrap(self, *args: object) -> object:
        time.sleep(self._latency)
        return self._key.wrap(*args)

    def unwrap(self, *args: object) -> object:
        time.sleep(self._latency)
        return self._key.unwrap(*args)

    def opens(self, recipient: object) -> bool:
        return self._key.opens(recipient)


def run(
    policy: CachePolicy, options: argparse.Namespace
) -> tuple[list[float], list[float], dict[str, object]]:
    """Seconds of the first message of each thread, of all the others, and the statistics."""
    kms = LocalKms()
    key = SlowKey(kms.key(kms.create_key(alias="bench")), options.latency)
    data = os.urandom(1024)
    first, later = [], []
    barrier = threading.Barrier(options.threads)
    with EnvelopeClient(key, cache=policy) as client:

        def work() -> None:
            barrier.wait()
            mine = []
            stop = time.perf_counter() + options.seconds
            while (start := time.perf_counter()) < stop:
                client.encrypt(data)
                mine.append(time.perf_counter() - start)
                time.sleep(options.pause)
            first.append(mine[0])
            later.extend(mine[1:])

        threads = [threading.Thread(target=work) for _ in range(options.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return first, later, client.stats()


def report(name: str, first: list[float], later: list[float], stats: dict, latency: float) -> None:
    later.sort()
    p50, p99, p999 = (later[int(len(later) * share)] for share in (0.5, 0.99, 0.999))
    calls = stats["kms_calls"]["GenerateDataKey"]
    slow = sum(seconds >= latency for seconds in later)
    print(f"{name}: {len(later):,} messages after the first of each thread")
    print(
        f"  encrypt  p50 {p50 * 1e6:.1f} us   p99 {p99 * 1e3:.3f} ms   p99.9 {p999 * 1e3:.3f} ms   "
        f"max {later[-1] * 1e3:.2f} ms   first of a thread, max {max(first) * 1e3:.1f} ms"
    )
    print(
        f"  calls    {calls} GenerateDataKey: {stats['misses']} made by a caller, "
        f"{stats['refreshes']} in the background; {stats['waits']} callers waited for another's call; "
        f"{slow} messages after the first took as long as a call\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--window", type=float, default=2)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--pause", type=float, default=0.02)
    options = parser.parse_args()
    print(machine.describe())
    print(
        f"{options.threads} threads, {options.seconds:g} s, max_age {options.window:g} s, "
        f"KMS {options.latency * 1e3:g} ms, pause {options.pause * 1e3:g} ms\n"
    )
    for name, share in (("refresh-ahead on", 0.5), ("refresh-ahead off", None)):
        policy = CachePolicy(max_age=options.window, refresh_ahead=share)
        report(name, *run(policy, options), options.latency)


if __name__ == "__main__":
    main()
