"""Standard input and output as binary streams, and copying between streams."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from .exits import UsageError

if TYPE_CHECKING:
    from kmsenvelope.streams import Sink

STANDARD = "-"
BLOCK = 1 << 20

Report = Callable[[int, int | None], None]


def standard_input() -> BinaryIO:
    """stdin, binary."""
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return cast(BinaryIO, sys.stdin.buffer)


def standard_output() -> BinaryIO:
    """stdout, binary."""
    if sys.stdout is None:
        raise OSError("standard output is closed")
    return cast(BinaryIO, sys.stdout.buffer)


def refuse_terminal(force: bool) -> None:
    """Raise ``UsageError`` if an envelope would be written to a terminal."""
    if not force and standard_output().isatty():
        raise UsageError("an envelope is binary: name a file or redirect the output (--force writes it here)")


def refuse_own_output(source: str) -> None:
    """Raise ``UsageError`` if ``source`` is the very file that stdout goes to: it would never end."""
    try:
        status_out = os.fstat(standard_output().fileno())
        status_in = os.fstat(standard_input().fileno()) if source == STANDARD else os.stat(source)
    except (OSError, ValueError):
        return
    if stat.S_ISREG(status_out.st_mode) and os.path.samestat(status_in, status_out):
        raise UsageError("input and output are the same file")


def copy(source: Any, sink: Sink, *, limit: int | None = None, report: Report | None = None) -> int:
    """Copy ``source``, a binary file, to its end or for ``limit`` bytes; returns the bytes copied."""
    from kmsenvelope.streams import write_all

    buffer = memoryview(bytearray(BLOCK if limit is None else max(1, min(BLOCK, limit))))
    done = 0
    while limit is None or done < limit:
        view = buffer if limit is None else buffer[: limit - done]
        size = source.readinto(view)
        if size is None:
            raise BlockingIOError("the input is non-blocking and has no data now")
        if not size:
            break
        write_all(sink, view[:size])
        done += size
        if report is not None:
            report(done, limit)
    return done


def size_of(stream: BinaryIO) -> int | None:
    """The bytes left in a regular file behind ``stream``, ``None`` for anything else."""
    try:
        status = os.fstat(stream.fileno())
        return status.st_size - stream.tell() if stat.S_ISREG(status.st_mode) else None
    except (OSError, ValueError):
        return None


def read_small(path: str, limit: int, what: str) -> bytes:
    """All of a file or of standard input. Raises ``UsageError`` for more than ``limit`` bytes."""
    if path == STANDARD:
        data = standard_input().read(limit + 1)
    else:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    if len(data) > limit:
        raise UsageError(f"{what} has more than {limit} bytes, which is the most for this command")
    return data


def write_small(path: str, data: bytes, *, force: bool) -> None:
    """Write ``data`` to standard output, or to a file that appears when it is complete."""
    if path == STANDARD:
        standard_output().write(data)
        standard_output().flush()
        return
    from kmsenvelope.atomic import AtomicFile
    from kmsenvelope.files import FdSink
    from kmsenvelope.streams import write_all

    with AtomicFile(path, overwrite=force) as target:
        write_all(FdSink(target.fd), data)
        target.commit()
