"""Fill the tables of the docs from ``results/``: what stands between ``<!-- bench:NAME -->`` and its end.

    python benchmarks/report.py [FILE …]

Without files: docs/performance.md and README.md. A marker without a result stays as it is and is named.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from common import HERE, RESULTS

MARKED = re.compile(r"(<!-- bench:([a-z0-9-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
DOCS = (HERE.parent / "docs" / "performance.md", HERE.parent / "README.md")


def filled(match: re.Match[str]) -> str:
    result = RESULTS / f"{match[2]}.md"
    if not result.exists():
        print(f"- no result for {match[2]}")
        return match[0]
    return f"{match[1]}{result.read_text().rstrip()}\n{match[3]}"


def main() -> None:
    for path in [Path(name) for name in sys.argv[1:]] or DOCS:
        if path.exists():
            path.write_text(MARKED.sub(filled, path.read_text()))


if __name__ == "__main__":
    main()
