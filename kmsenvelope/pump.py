"""From one file to another through a cipher, in as many threads as help.

Each thread takes the next block from the source, converts it and writes it to its place in the target, so
that one thread reads and seals while another writes, and a block stays in one core's cache.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol

from .blocks import Body, Convert

RUN = 64
"""Chunks in a block: 1 MiB. Buffers of it are allocated once and used again."""

MAX_THREADS = 16
"""At 2 MiB of buffers each."""

IN_ORDER_THREADS = 2
"""One reads and seals while one writes; a file takes one writer at a time, so more would only wait."""


WriteAt = Callable[[bytes | memoryview, int], None]
"""Writes all of the data at an offset; from any thread."""


class Source(Protocol):
    """What a pump reads from, one thread at a time.

    ``size`` is None where it is not known, ``taken`` the bytes read, ``ended`` whether the end came.
    """

    size: int | None
    taken: int
    ended: bool

    def fill(self, view: memoryview) -> int:
        """Read until ``view`` is full or the source ends; returns the bytes read."""


class Pump:
    """Converts the rest of ``source``; ``run`` does it once.

    ``write`` is given offsets from the place of the first chunk; None: the result is dropped. ``report`` is
    called between blocks, in the caller's thread. ``threads`` is how many work, by default as many as help;
    ``run`` is the chunks of a block.
    """

    def __init__(
        self,
        source: Source,
        body: Body,
        write: WriteAt | None,
        report: Callable[[], None],
        *,
        threads: int | None = None,
        run: int = RUN,
    ) -> None:
        self._source = source
        self._body = body
        self._write = write
        self._report = report
        self._lock = threading.Lock()  # held while reading, and while converting where that goes in order
        self._failed = False
        self._index = 0
        self._rest = b""
        self._error: BaseException | None = None
        left = None if source.size is None else max(source.size - source.taken, 0)
        chunks = run if left is None else _chunks(left // body.takes, run)
        self._block = chunks * body.takes
        self._room = chunks * body.gives
        if threads is None:
            idle = write is None and body.in_order  # nothing to do beside what goes in order
            # A pipe may keep its reader waiting for ever: only a signal to the caller's thread ends that.
            threads = 1 if left is None or idle else _threads(left // self._block, in_order=body.in_order)
        self._threads = threads

    def run(self) -> None:
        """Convert and write everything. Raises the first error of any thread, after all have stopped."""
        helpers = [
            threading.Thread(target=self._help, name="kmsenvelope-file", daemon=True)
            for _ in range(self._threads - 1)
        ]
        try:
            _start(helpers)
            self._work(self._report)
        except BaseException:
            self._failed = True
            raise
        finally:
            _join(helpers)
        if self._error is not None:
            raise self._error
        last = self._body.last(self._index, self._rest)
        if self._write is not None:
            self._write(last, self._index * self._body.gives)
        self._report()

    def _help(self) -> None:
        try:
            self._work(_nothing)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that called run
            self._failed = True
            self._error = error

    def _work(self, report: Callable[[], None]) -> None:
        body, write = self._body, self._write
        block, room = memoryview(bytearray(self._block)), memoryview(bytearray(self._room))
        convert = body.worker()
        while not self._failed and not self._source.ended:
            first, data, size = self._take(block, convert, room)
            if data and not body.in_order:
                size = convert(first, data, room)
            if write is not None:
                write(room[:size], first * body.gives)
            report()

    def _take(self, block: memoryview, convert: Convert, room: memoryview) -> tuple[int, memoryview, int]:
        """The next whole chunks and the index of the first, and the size of what they became, if in order."""
        with self._lock:
            if self._failed or self._source.ended:
                return self._index, block[:0], 0
            try:
                first, size = self._index, self._source.fill(block)
                chunks, rest = divmod(size, self._body.takes)
                data = block[: size - rest]
                self._rest = bytes(block[size - rest : size])
                self._index += chunks
                return first, data, convert(first, data, room) if self._body.in_order else 0
            except BaseException:
                self._failed = True  # before another thread can go on
                raise


def _start(helpers: list[threading.Thread]) -> None:
    try:
        for helper in helpers:
            helper.start()
    except RuntimeError:  # no more threads to be had: fewer will do
        pass


def _chunks(whole: int, run: int) -> int:
    """Chunks in a block of a file of ``whole`` whole chunks: small ones too have more than one block.

    Using a buffer again costs less than touching new memory.
    """
    return min(run, max(whole // 2, 8), whole + 1)


def _threads(blocks: int, *, in_order: bool) -> int:
    """How many threads are worth it for ``blocks`` blocks."""
    limit = min(IN_ORDER_THREADS, blocks // 2) if in_order else min(MAX_THREADS, blocks)
    return max(1, min(limit, _cores()))


def _cores() -> int:
    """The processor's cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _join(helpers: list[threading.Thread]) -> None:
    """Wait until all are gone: afterwards the caller closes the files that they work on."""
    interrupt: BaseException | None = None
    for helper in helpers:
        while helper.is_alive():
            try:
                helper.join()
            except BaseException as error:  # noqa: BLE001 - a second Ctrl-C, raised again below
                interrupt = error
    if interrupt is not None:
        raise interrupt


def _nothing() -> None:
    pass
