"""Whole files: a pipeline that reads and seals one block while a thread writes the one before."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from queue import SimpleQueue
from typing import Self

from cryptography.exceptions import InvalidTag

from .atomic import PathLike
from .chunked import BODY_PREFIX, CHUNK, SEALED, StreamCipher, plain_size
from .errors import AuthenticationError
from .streams import Sink, write_all

Progress = Callable[[int, int | None], None]
"""Called with the bytes done and the total (None if unknown), in bytes of the source."""

RUN = 64
BUFFERS = 3


class SourceFile:
    """A file opened for reading from start to end.

    ``size`` is None for what is not a regular file, ``taken`` the bytes read, ``ended`` whether the end came.
    """

    def __init__(self, path: PathLike) -> None:
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        status = os.fstat(self.fd)
        if stat.S_ISDIR(status.st_mode):
            self.close()
            raise IsADirectoryError(errno.EISDIR, "the source is a folder; archive it first", os.fspath(path))
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


def refuse_same_file(source: PathLike, destination: PathLike) -> None:
    """Raise ``ValueError`` if both paths name one file."""
    try:
        same = os.path.samefile(source, destination)
    except FileNotFoundError:
        return
    if same:
        raise ValueError("source and destination are the same file")


def seal_file(
    source: SourceFile,
    sink: Sink,
    cipher: StreamCipher,
    progress: Progress | None,
    charge: Callable[[int], None],
) -> None:
    """Seal the rest of ``source`` as one body; ``charge`` is told of each block's bytes."""

    def report(size: int) -> None:
        charge(size)
        if progress is not None:
            progress(source.taken, source.size)

    _pump(source, sink, cipher, (RUN * CHUNK, RUN * SEALED + BODY_PREFIX), report)


def open_file(source: SourceFile, sink: Sink, cipher: StreamCipher, progress: Progress | None) -> None:
    """Open the rest of ``source`` as one body.

    Raises ``AuthenticationError`` or ``TruncatedError``; ``sink`` then holds authentic data, but not all.
    """
    header_size = source.taken
    if source.size is not None:
        plain_size(source.size - header_size)

    def report(size: int) -> None:
        if progress is not None:
            progress(source.taken, source.size)

    try:
        _pump(source, sink, cipher, (RUN * SEALED, (RUN + 1) * CHUNK), report)
    except InvalidTag:
        if source.ended:
            plain_size(source.taken - header_size)
        raise AuthenticationError from None


def _pump(
    source: SourceFile,
    sink: Sink,
    cipher: StreamCipher,
    sizes: tuple[int, int],
    report: Callable[[int], None],
) -> None:
    block, room = sizes
    if source.size is not None:
        block = min(block, max(source.size - source.taken, 0) + 1)
    buffer = memoryview(bytearray(block))

    def blocks() -> Iterator[memoryview]:
        while not source.ended:
            size = source.fill(buffer)
            yield buffer[:size]
            report(size)

    pending = blocks()
    first = next(pending)
    if source.ended:
        write_all(sink, cipher.update(first))
        for _ in pending:
            pass
    else:
        with WriteBehind(sink, room) as writer:
            for data in chain((first,), pending):
                writer.send(partial(cipher.update_into, data))
    write_all(sink, cipher.finalize())


class WriteBehind:
    """A thread that writes one buffer while the next is being filled.

    ``send`` waits for a free buffer of ``room`` bytes; an error of the sink is raised by it or on leaving.
    """

    def __init__(self, sink: Sink, room: int) -> None:
        self._sink = sink
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._filled: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        self._error: BaseException | None = None
        for _ in range(BUFFERS):
            self._free.put(memoryview(bytearray(room)))
        self._thread = threading.Thread(target=self._write, name="kmsenvelope-writer", daemon=True)

    def send(self, fill: Callable[[memoryview], int]) -> None:
        """Have ``fill`` put data into a buffer; it returns the number of bytes, which are then written."""
        buffer = self._free.get()
        if self._error is not None:
            raise self._error
        self._filled.put((buffer, fill(buffer)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc: object) -> None:
        # The thread must be gone before anyone closes the file that it writes to.
        self._filled.put(None)
        self._thread.join()
        if exc_type is None and self._error is not None:
            raise self._error

    def _write(self) -> None:
        while (item := self._filled.get()) is not None:
            buffer, size = item
            if self._error is None:
                try:
                    write_all(self._sink, buffer[:size])
                except BaseException as error:  # noqa: BLE001 - raised again in the thread that sends
                    self._error = error
            self._free.put(buffer)
