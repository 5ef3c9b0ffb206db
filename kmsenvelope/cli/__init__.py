"""The command line: ``main`` is the console script ``kmsenvelope``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line on ``sys.argv`` and exit with its code (docs/cli.md)."""
    try:
        import typer  # noqa: F401 - the check costs nothing: every command needs it
    except ModuleNotFoundError:
        sys.exit("kmsenvelope: the command line needs an extra: pip install 'kmsenvelope[cli]'")
    from .run import run

    run()
