"""Runs the command line: how errors, signals and a closed output end the process."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from .exits import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    TERMINATED,
    USAGE,
    complain,
    say,
    silence_stdout,
)


class CommandLine(TyperGroup):
    """The top of the command tree. Every failure becomes one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; its errors end here."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if _is_from_typer(error):
                raise
            raise typer.Exit(complain(error)) from error

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line; what typer itself refuses ends here."""
        standalone = extra.get("standalone_mode", True)
        try:
            result = super().main(*args, **{**extra, "standalone_mode": False})
        except typer.Abort:
            result = INTERRUPTED
        except Exception as error:
            if not _is_from_typer(error):
                raise
            result = _complain_of_usage(error)
        if standalone:
            sys.exit(result if isinstance(result, int) else 0)
        return result


def run() -> NoReturn:
    """Run on ``sys.argv`` and exit."""
    from .app import app

    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app(prog_name="kmsenvelope")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(_flush(code))


def _flush(code: int) -> int:
    """What is left in stdout goes out now, where its failure can still be told."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        return code or BROKEN_PIPE
    except OSError as error:
        silence_stdout()
        return code or complain(error)
    return code


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    # An exception, so that every block on the way out takes its unfinished file with it.
    signal.signal(signum, signal.SIG_IGN)
    raise SystemExit(TERMINATED if signum == signal.SIGTERM else 128 + signum)


def _is_from_typer(error: Exception) -> bool:
    return isinstance(error, typer.Exit | typer.Abort) or hasattr(error, "format_message")


def _complain_of_usage(error: Any) -> int:
    ctx = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return USAGE
    command = ctx.command_path if ctx is not None else "kmsenvelope"
    message = " ".join(error.format_message().split()).rstrip(".")
    say(f"{message}: see '{command} --help'")
    return int(getattr(error, "exit_code", USAGE))
