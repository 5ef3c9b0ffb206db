"""What the benchmarks share: taking turns, best of many, tables, and the results that fill the docs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
IMAGES = HERE.parent / "docs" / "img"
MIB = 1 << 20


class Timing(NamedTuple):
    """Seconds of wall clock and of processor (user and system)."""

    wall: float
    cpu: float


def timed(run: Callable[[], object]) -> Timing:
    """Time one call; processes that it waits for are counted."""
    before, start = os.times(), time.perf_counter()
    run()
    wall, after = time.perf_counter() - start, os.times()
    return Timing(wall, sum(after[:4]) - sum(before[:4]))


def take_turns(
    cases: Mapping[str, Callable[[], Timing]], rounds: int, reset: Callable[[], object] = lambda: None
) -> dict[str, list[Timing]]:
    """``rounds`` times each case once untimed and once timed, ``reset`` before each.

    A machine's speed changes from one second to the next; the best of many rounds, taken in turn, compares.
    """
    results: dict[str, list[Timing]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            reset()
            case()
            reset()
            results[name].append(case())
    reset()
    return results


def best_loops(cases: Mapping[str, Callable[[], object]], rounds: int, seconds: float) -> dict[str, float]:
    """Seconds of one call of each case, at its best: loops of about ``seconds``, taken in turn."""
    loops = {}
    for name, call in cases.items():
        call()
        start = time.perf_counter()
        call()
        loops[name] = max(1, int(seconds / (time.perf_counter() - start)))
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(rounds):
        for name, call in cases.items():
            count = loops[name]
            start = time.perf_counter()
            for _ in range(count):
                call()
            best[name] = min(best[name], (time.perf_counter() - start) / count)
    return best


def best(timings: Sequence[Timing]) -> float:
    return min(timing.wall for timing in timings)


def median(timings: Sequence[Timing]) -> float:
    return statistics.median(timing.wall for timing in timings)


def least_cpu(timings: Sequence[Timing]) -> float:
    return min(timing.cpu for timing in timings)


class Worker:
    """A peer in a process of its own: started once, asked many times (worker.py)."""

    def __init__(self, *arguments: str, cpus: int | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if cpus is not None:
            os.sched_setaffinity(self._process.pid, range(cpus))

    def ask(self, *request: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def timing(self, *request: object) -> Timing:
        return Timing(*self.ask(*request))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 1}{'--:|' * (len(head) - 1)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def save(name: str, text: str, data: object, note: str = "") -> None:
    """Keep a result as ``results/NAME.md`` (what the docs show) and ``NAME.json``; print it."""
    RESULTS.mkdir(exist_ok=True)
    when = time.strftime("%Y-%m-%d", time.gmtime())
    source = f"{when}: {machine.describe()}. {note}".rstrip()
    (RESULTS / f"{name}.md").write_text(f"{text}\n\n{source}\n")
    (RESULTS / f"{name}.json").write_text(
        json.dumps({"date": when, "machine": machine.describe(), "note": note, "data": data}, indent=1) + "\n"
    )
    print(f"\n## {name}\n\n{text}\n\n{source}", flush=True)


def figure(name: str, width: float = 7, height: float = 4) -> tuple[Any, Any, Callable[[], None]]:
    """A plot: figure, axes, and what writes it to docs/img/NAME.png."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(figsize=(width, height), layout="constrained")
    axes.grid(alpha=0.3)

    def finish() -> None:
        IMAGES.mkdir(parents=True, exist_ok=True)
        fig.savefig(IMAGES / f"{name}.png", dpi=110)
        plt.close(fig)

    return fig, axes, finish


def size_name(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:g} {unit}"
        size /= 1024
    return f"{size:g} GiB"
