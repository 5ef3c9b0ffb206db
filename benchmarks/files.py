"""Whole files beside ``cp`` and the peers: each operation in turn, once untimed and once timed, best of many.

    python benchmarks/files.py [--mib 1024] [--rounds 9] [--peer-rounds 3] [--folder FOLDER]

``cp --reflink=never`` is the reference: it takes part in every round. Peers under 200 MB/s get a file of an
eighth of the size, and a ``cp`` of that. The destination is removed before each operation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from common import MIB, Timing, Worker, best, figure, least_cpu, median, save, table, take_turns, timed
from peers import FILES, usable

OURS = ("kmsenvelope AES-256-GCM", "kmsenvelope SM4-GCM")
SLOW = ("AWS Encryption SDK, 4 KiB frames",)
OPERATIONS = ("encrypt", "decrypt", "verify")


def make_file(path: Path, mib: int) -> None:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(mib):
            file.write(number.to_bytes(8, "big") + block[8:])


def copy(source: Path, destination: Path) -> Timing:
    return timed(lambda: subprocess.run(["cp", "--reflink=never", source, destination], check=True))


def cases(folder: Path, plain: Path, names: tuple[str, ...]) -> dict[str, Callable[[], Timing]]:
    out = folder / "out"
    made: dict[str, Callable[[], Timing]] = {"cp": lambda: copy(plain, out)}
    for name in names:
        worker = Worker(name, str(folder))
        sealed = folder / f"sealed-{len(made)}"
        worker.ask("encrypt", str(plain), str(sealed))
        for operation in OPERATIONS if name in OURS else OPERATIONS[:2]:
            source = plain if operation == "encrypt" else sealed
            request = (operation, str(source)) + ((str(out),) if operation != "verify" else ())
            made[f"{name}, {operation}"] = lambda worker=worker, request=request: worker.timing(*request)
    return made


def measure(
    folder: Path, mib: int, names: tuple[str, ...], rounds: int
) -> dict[str, tuple[int, list[Timing]]]:
    """Name of the case to the size of its file and its timings; in one group with ``cp`` of that file."""
    names = tuple(name for name in names if usable(name, folder))
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        group = Path(inner)
        plain = group / "plain"
        make_file(plain, mib)
        results = take_turns(
            cases(group, plain, names), rounds, lambda: (group / "out").unlink(missing_ok=True)
        )
    return {name: (mib, timings) for name, timings in results.items()}


def rows(results: dict[str, tuple[int, list[Timing]]]) -> list[list[object]]:
    reference = results["cp"][1]
    return [
        [
            name if mib == results["cp"][0] else f"{name} ({mib} MiB)",
            f"{best(timings):.3f}",
            f"{median(timings):.3f}",
            f"{mib * MIB / best(timings) / 1e9:.2f}",
            f"{best(timings) / best(reference):.2f}",
            f"{least_cpu(timings):.2f}",
            len(timings),
        ]
        for name, (mib, timings) in results.items()
    ]


def plot(ratios: dict[str, float]) -> None:
    _, axes, finish = figure("files", 8, 0.28 * len(ratios) + 1)
    names = list(reversed(ratios))
    colors = ["#c0392b" if name.startswith("kmsenvelope") else "#7f8c8d" for name in names]
    bars = axes.barh(names, [ratios[name] for name in names], color=colors)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(0.3, max(ratios.values()) * 1.6)
    axes.set_xlabel("time, cp = 1 (log scale)")
    axes.tick_params(axis="y", labelsize=8)
    finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peer-rounds", type=int, default=3)
    parser.add_argument("--folder")
    options = parser.parse_args()
    peers = tuple(name for name in FILES if name not in OURS + SLOW)
    head = ["operation", "best s", "median s", "GB/s", "x cp", "CPU s", "rounds"]
    ratios: dict[str, float] = {}
    lines: list[list[object]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for names, mib, rounds in (
            (OURS[:1], options.mib, options.rounds),
            (OURS[1:], options.mib, options.peer_rounds),
            (peers, options.mib, options.peer_rounds),
            (SLOW, max(options.mib // 8, 1), options.peer_rounds),
        ):
            results = measure(Path(name), mib, names, rounds)
            for case, (_, timings) in results.items():
                ratios.setdefault(case, best(timings) / best(results["cp"][1]))
            lines += rows(results)
    save(
        "files",
        table(head, lines),
        {"ratios": ratios, "rows": lines},
        f"Files of {options.mib} MiB in page cache; each group of rows was measured in turn with its own cp.",
    )
    plot(ratios)


if __name__ == "__main__":
    main()
