"""How time and memory grow with the size of a file, and throughput with the processor's cores.

    python benchmarks/growth.py [--largest-mib 2048] [--rounds 5] [--folder FOLDER]

Sizes from 1 byte in steps of 16; ``cp`` takes its turn each time. Memory is the growth of the peak of a fresh
process over its idle state. Cores: the same process held to 1, 2, 4, … of them. large_file.py does 20 GiB.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from common import MIB, Worker, best, figure, save, size_name, table, take_turns
from files import copy, make_file

SUITES = ("AES-256-GCM", "SM4-GCM")
OPERATIONS = ("encrypt", "decrypt")


def sizes(largest: int) -> list[int]:
    series = [16**power for power in range(12) if 16**power < largest]
    return [*series, largest]


def by_size(folder: Path, largest: int, rounds: int) -> list[dict[str, Any]]:
    plain, sealed, out = folder / "plain", folder / "sealed", folder / "out"
    worker, rows = Worker("kmsenvelope AES-256-GCM", str(folder)), []
    make_file(plain, -(-largest // MIB))
    for size in reversed(sizes(largest)):
        os.truncate(plain, size)
        worker.ask("encrypt", str(plain), str(sealed))
        requests = {
            "encrypt": ("encrypt", str(plain), str(out)),
            "decrypt": ("decrypt", str(sealed), str(out)),
            "verify": ("verify", str(sealed)),
        }
        cases = {name: lambda request=request: worker.timing(*request) for name, request in requests.items()}
        cases["cp"] = lambda: copy(plain, out)
        turns = rounds if size > 64 * MIB else 5 * rounds
        timings = take_turns(cases, turns, lambda: out.unlink(missing_ok=True))
        row: dict[str, Any] = {
            "size": size,
            "seconds": {name: best(values) for name, values in timings.items()},
        }
        row["memory"] = {name: peak(folder, requests[name]) for name in OPERATIONS}
        rows.append(row)
    worker.close()
    return rows[::-1]


def peak(folder: Path, request: tuple[str, ...]) -> float:
    worker = Worker("kmsenvelope AES-256-GCM", str(folder))
    try:
        return float(worker.ask("memory", *request))
    finally:
        worker.close()


def by_cores(folder: Path, rounds: int) -> dict[str, dict[int, float]]:
    """GB/s of each suite and operation by the number of cores."""
    mib, rates = 256, {}
    plain, out = folder / "plain", folder / "out"
    make_file(plain, mib)
    cores = [count for count in (1, 2, 4, 8, 16) if count <= (os.cpu_count() or 1)]
    cases = {}
    for suite in SUITES:
        for count in cores:
            worker, sealed = (
                Worker(f"kmsenvelope {suite}", str(folder), cpus=count),
                folder / f"sealed-{suite}",
            )
            worker.ask("encrypt", str(plain), str(sealed))
            for operation in OPERATIONS:
                source = plain if operation == "encrypt" else sealed
                request = (operation, str(source), str(out))
                cases[f"{suite} {operation} {count}"] = lambda w=worker, r=request: w.timing(*r)
    timings = take_turns(cases, rounds, lambda: out.unlink(missing_ok=True))
    for suite in SUITES:
        for operation in OPERATIONS:
            name = f"{suite} {operation}"
            rates[name] = {count: mib * MIB / best(timings[f"{name} {count}"]) / 1e9 for count in cores}
    return rates


def plot_sizes(rows: list[dict[str, Any]]) -> None:
    colors = {"encrypt": "#c0392b", "decrypt": "#2c3e50", "verify": "#27ae60", "cp": "#7f8c8d"}
    places = [row["size"] for row in rows]
    for name, label in (("time-by-size", "seconds"), ("throughput-by-size", "GB/s")):
        _, axes, finish = figure(name)
        for case, color in colors.items():
            seconds = [row["seconds"][case] for row in rows]
            rates = [size / value / 1e9 for size, value in zip(places, seconds, strict=True)]
            values = seconds if label == "seconds" else rates
            axes.plot(places, values, marker="o", label=case, color=color)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("bytes in the file (log scale)")
        axes.set_ylabel(f"{label} (log scale)")
        axes.legend()
        finish()
    _, axes, finish = figure("memory-by-size", 7, 3.5)
    for case in OPERATIONS:
        axes.plot(places, [row["memory"][case] for row in rows], marker="o", label=case, color=colors[case])
    axes.set_xscale("log", base=2)
    axes.set_ylim(0, 64)
    axes.set_xlabel("bytes in the file (log scale)")
    axes.set_ylabel("growth of peak memory, MiB")
    axes.legend()
    finish()


def plot_cores(rates: dict[str, dict[int, float]]) -> None:
    _, axes, finish = figure("throughput-by-cores", 7, 3.5)
    for name, values in rates.items():
        axes.plot(list(values), list(values.values()), marker="o", label=name)
    axes.set_xticks(list(next(iter(rates.values()))))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("cores that the process may use")
    axes.set_ylabel("GB/s")
    axes.legend()
    finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest-mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        rows = by_size(Path(name), options.largest_mib * MIB, options.rounds)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        rates = by_cores(Path(name), options.rounds)
    columns = ["encrypt", "decrypt", "verify", "cp"]
    cells = [
        [
            size_name(row["size"]),
            *(f"{row['seconds'][column] * 1e3:.2f}" for column in columns),
            *(f"{row['memory'][column]:.1f}" for column in OPERATIONS),
        ]
        for row in rows
    ]
    head = ["file", *(f"{column} ms" for column in columns), "encrypt peak MiB", "decrypt peak MiB"]
    save("growth", table(head, cells), rows, "AES-256-GCM; cp includes the start of its process, about 1 ms.")
    cores = list(next(iter(rates.values())))
    save(
        "cores",
        table(
            ["GB/s", *(f"{count} cores" for count in cores)],
            [[name, *(f"{values[count]:.2f}" for count in cores)] for name, values in rates.items()],
        ),
        rates,
        "256 MiB in page cache, best of the rounds.",
    )
    plot_sizes(rows)
    plot_cores(rates)


if __name__ == "__main__":
    main()
