"""Fault runs: envelopes over the real SDK and a socket while the emulator fails on purpose.

    python benchmarks/faults.py [MESSAGES] [PROBABILITY]

Every run creates a CMK for each of 4 threads and seals and opens MESSAGES messages under data keys that serve
one message each, so every message needs its KMS calls. Each call meets the fault of the run with
PROBABILITY. A row shows what became of the messages, the calls that the client made, those that it repeated,
the failures it saw, and how many CMKs the KMS then has. The exit code is 1 if a message came back changed, or
there are more or fewer CMKs than were asked for.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter

import machine

from kmsenvelope import CachePolicy, EnvelopeClient, EnvelopeError, TencentKms
from kmsenvelope.emulator.faults import Faults
from kmsenvelope.emulator.server import Emulator
from kmsenvelope.kms.retry import Retry
from kmsenvelope.testing import connect

THREADS = 4
NETWORK = ("reset", "lost_answer", "truncate", "stall", "status", "empty", "throttle")
RUNS: dict[str, tuple[str, ...]] = {"none": (), **{kind: (kind,) for kind in NETWORK}, "all of them": NETWORK}


def work(kms: TencentKms, name: str, messages: int, outcomes: Counter[str]) -> None:
    """Create a CMK, then seal and open; every outcome is counted under its name."""
    try:
        key = kms.key(kms.create_key(name))
    except EnvelopeError as error:
        outcomes[f"no key: {type(error).__name__}"] += 1
        return
    for number in range(messages):
        data = os.urandom(64)
        try:
            with EnvelopeClient(key, cache=CachePolicy(max_messages=1)) as client:
                sealed = client.encrypt(data, context={"number": str(number)})
            with EnvelopeClient(key) as client:
                opened = client.decrypt(sealed)
        except EnvelopeError as error:
            outcomes[type(error).__name__] += 1
        else:
            outcomes["ok" if opened == data else "WRONG"] += 1


def run(emulator: Emulator, kinds: tuple[str, ...], messages: int, probability: float) -> dict[str, object]:
    """One run; the row of the table."""
    emulator.reset()
    share = probability / max(1, len(kinds))
    for kind in kinds:
        emulator.faults.add(kind, times=None, probability=share, seconds=2.0)
    outcomes: Counter[str] = Counter()
    begin = time.perf_counter()
    with connect(emulator, read_timeout=0.5, retry=Retry(deadline=30)) as kms:
        threads = [
            threading.Thread(target=work, args=(kms, f"cmk-{n}", messages // THREADS, outcomes))
            for n in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats = kms.stats()
    emulator.faults.clear()
    return {
        "outcomes": dict(outcomes),
        "calls": sum(stats["calls"].values()),
        "repeats": stats["repeats"],
        "failures": stats["failures"],
        "keys": emulator.engine.call("ListKeys", {})["TotalCount"],
        "seconds": time.perf_counter() - begin,
    }


def main() -> int:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    probability = float(sys.argv[2]) if len(sys.argv) > 2 else 0.2
    print(machine.describe())
    print(
        f"{messages} messages, {THREADS} threads, each call meets the fault with probability {probability}\n"
    )
    print(f"{'fault':12} {'calls':>6} {'repeats':>8} {'CMKs':>5} {'s':>6}  messages; failures seen")
    bad = False
    with Emulator() as emulator:
        emulator.faults = Faults(seed=1)
        for name, kinds in RUNS.items():
            row = run(emulator, kinds, messages, probability)
            told = ", ".join(f"{count} {what}" for what, count in row["outcomes"].items())
            seen = ", ".join(f"{count} {code}" for code, count in sorted(row["failures"].items())) or "none"
            counts = f"{row['calls']:6} {row['repeats']:8} {row['keys']:5} {row['seconds']:6.1f}"
            print(f"{name:12} {counts}  {told}; {seen}", flush=True)
            bad |= "WRONG" in row["outcomes"] or row["keys"] != THREADS
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
