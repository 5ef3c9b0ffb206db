"""A process that does one peer's work on request: see ``common.Worker``.

    python benchmarks/worker.py PEER FOLDER

Reads a JSON list from each line of standard input, ["encrypt", source, destination] and so on, and answers
with [seconds, processor seconds]; ["memory", operation, …] answers with the growth of the peak, in MiB.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import common
import peers


def memory(name: str) -> float:
    """MiB, from Linux. getrusage would also count the process that this one was forked from."""
    match = re.search(name + r":\s+([0-9]+)", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def main() -> None:
    operations = peers.FILES[sys.argv[1]](Path(sys.argv[2]))
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        if name == "memory":
            name, *arguments = arguments
            before = memory("VmRSS")
            operations[name](*arguments)
            answer: object = memory("VmHWM") - before
        else:
            answer = common.timed(lambda name=name, arguments=arguments: operations[name](*arguments))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
