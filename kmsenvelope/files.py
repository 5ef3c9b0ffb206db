"""Whole files: sealed and opened by a pump from one descriptor to another."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Self

from cryptography.exceptions import InvalidTag

from .atomic import PathLike
from .blocks import Body
from .chunked import BODY_PREFIX, plain_size, sealed_size
from .errors import AuthenticationError
from .pump import Pump
from .reserve import reserve

Progress = Callable[[int, int | None], None]
"""Called with the bytes done and the total (None if unknown), in bytes of the source."""


class SourceFile:
    """A file opened for reading from start to end.

    ``size`` is None for what is not a regular file, ``taken`` the bytes read, ``ended`` whether the end came.
    """

    def __init__(self, path: PathLike) -> None:
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        status = os.fstat(self.fd)
        if stat.S_ISDIR(status.st_mode):
            self.close()
            raise IsADirectoryError(
                errno.EISDIR, "the source is a folder; name its files, or archive it first", os.fspath(path)
            )
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.taken = 0
        self.ended = False

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end."""
        data = os.read(self.fd, size)
        self.taken += len(data)
        return data

    def fill(self, view: memoryview) -> int:
        """Read until ``view`` is full or the file ends; returns the bytes read."""
        done = 0
        while done < len(view):
            size = os.readv(self.fd, [view[done:]])
            if not size:
                self.ended = True
                break
            done += size
        self.taken += done
        return done

    def fileno(self) -> int:
        """The file descriptor."""
        return self.fd

    def seek(self, offset: int, /) -> int:
        """Go on reading at ``offset``."""
        self.taken = os.lseek(self.fd, offset, os.SEEK_SET)
        return offset

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FdSink:
    """Writes to a file descriptor that somebody else closes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def write(self, data: bytes | memoryview, /) -> int:
        """Take what the file takes; returns the bytes taken."""
        return os.write(self.fd, data)


class NoSink:
    """Drops what it is given: a body that is verified only."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Take everything."""
        return len(data)


class TargetFile:
    """A file descriptor that somebody else closes, written from any thread at places from ``start``."""

    def __init__(self, fd: int, start: int = 0) -> None:
        self._fd = fd
        self._start = start

    def reserve(self, size: int) -> None:
        """Set space aside for ``size`` bytes."""
        reserve(self._fd, self._start + size)

    def trim(self) -> None:
        """Give back what was set aside and not used."""
        os.ftruncate(self._fd, os.fstat(self._fd).st_size)

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of ``data`` at ``offset``."""
        offset += self._start
        while data:
            taken = os.pwrite(self._fd, data, offset)
            data = memoryview(data)[taken:]
            offset += taken


def refuse_same_file(source: PathLike, destination: PathLike) -> None:
    """Raise ``ValueError`` if both paths name one file, ``TypeError`` for what is no path."""
    for path in (source, destination):
        if not isinstance(path, str | bytes | os.PathLike):
            raise TypeError(
                f"source and destination are paths, not {type(path).__name__}: client.open takes open files"
            )
    try:
        same = os.path.samefile(source, destination)
    except FileNotFoundError:
        return
    if same:
        raise ValueError("source and destination are the same file")


def seal_file(
    source: SourceFile,
    target: TargetFile,
    body: Body,
    progress: Progress | None,
    charge: Callable[[int], None],
) -> None:
    """Seal the rest of ``source``; ``charge`` is told of the bytes."""
    charged = 0

    def report() -> None:
        nonlocal charged
        taken = source.taken
        charge(taken - charged)
        charged = taken
        if progress is not None:
            progress(taken, source.size)

    if source.size is not None:
        target.reserve(sealed_size(source.size) - BODY_PREFIX)
    Pump(source, body, target.write, report).run()
    if source.size is not None and source.taken < source.size:  # it shrank meanwhile
        target.trim()


def open_file(source: SourceFile, target: TargetFile | None, body: Body, progress: Progress | None) -> None:
    """Open the chunks that are the rest of ``source``; without ``target`` they are only verified.

    Raises ``AuthenticationError`` or ``TruncatedError``; what was written then is authentic, but not all.
    """
    start = source.taken - BODY_PREFIX
    if source.size is not None:
        size = plain_size(source.size - start)
        if target is not None:
            target.reserve(size)

    def report() -> None:
        if progress is not None:
            progress(source.taken, source.size)

    try:
        Pump(source, body, None if target is None else target.write, report).run()
    except InvalidTag:
        if source.ended:
            plain_size(source.taken - start)
        raise AuthenticationError from None
