"""The pump under files: any number of threads, short reads, and what happens when one of them fails."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator

import pytest
from cryptography.exceptions import InvalidTag

from kmsenvelope.blocks import Body, opening, sealing
from kmsenvelope.chunked import BODY_PREFIX, CHUNK, SEALED, Decryptor, sealed_size
from kmsenvelope.pump import RUN, Pump
from kmsenvelope.suites import Suite

BLOCK = RUN * CHUNK
THREADS = [1, 2, 3, 8]
SIZES = [0, 1, CHUNK, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + CHUNK, 5 * BLOCK + 7]
CONTEXT = b"context"


def text(size: int) -> bytes:
    return hashlib.shake_128(size.to_bytes(8, "big")).digest(size)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "kmsenvelope-file"]


class Bytes:
    """A source in memory; ``known``: whether it says its size. ``fails_at``: where reading raises."""

    def __init__(self, data: bytes, *, known: bool = True, fails_at: int | None = None) -> None:
        self.data = data
        self.size = len(data) if known else None
        self.taken = 0
        self.ended = False
        self.fails_at = fails_at
        self.readers = self.failures = 0

    def fill(self, view: memoryview) -> int:
        self.readers += 1
        assert self.readers == 1, "two threads read at once"
        if self.fails_at is not None and self.taken >= self.fails_at:
            self.failures += 1
            self.readers -= 1
            raise OSError("cannot read")
        piece = self.data[self.taken : self.taken + len(view)]
        view[: len(piece)] = piece
        self.taken += len(piece)
        self.ended = len(piece) < len(view)
        self.readers -= 1
        return len(piece)


class Room:
    """A target in memory; ``fails_at``: the offset from which writing raises, ``slow`` every write waits."""

    def __init__(self, size: int, *, fails_at: int | None = None, slow: bool = False) -> None:
        self.data = bytearray(size)
        self.written = 0
        self.fails_at = fails_at
        self.slow = slow
        self.threads: set[int] = set()

    def write(self, data: bytes | memoryview, offset: int) -> None:
        if self.fails_at is not None and offset >= self.fails_at:
            raise OSError("disk full")
        if self.slow:
            time.sleep(0.002)
        self.threads.add(threading.get_ident())
        self.data[offset : offset + len(data)] = data
        self.written += len(data)


def nothing() -> None:
    pass


def dek(suite: Suite) -> bytes:
    return bytes(range(suite.key_size))


def sealed(suite: Suite, data: bytes, threads: int) -> bytes:
    prefix, body = sealing(suite, dek(suite), CONTEXT)
    room = Room(sealed_size(len(data)) - BODY_PREFIX)
    Pump(Bytes(data), body, room.write, nothing, threads=threads).run()
    assert room.written == len(room.data)
    return prefix + room.data


def body_of(suite: Suite, blob: bytes) -> Body:
    return opening(suite, dek(suite), blob[:BODY_PREFIX], CONTEXT)


@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("size", SIZES)
def test_any_number_of_threads_writes_what_one_stream_opens(suite: Suite, threads: int, size: int) -> None:
    data = text(size)
    blob = sealed(suite, data, threads)
    stream = Decryptor(suite, dek(suite), CONTEXT)
    assert stream.update(blob) + stream.finalize() == data
    room = Room(size)
    Pump(Bytes(blob[BODY_PREFIX:]), body_of(suite, blob), room.write, nothing, threads=threads).run()
    assert bytes(room.data) == data
    Pump(Bytes(blob[BODY_PREFIX:]), body_of(suite, blob), None, nothing, threads=threads).run()


@pytest.mark.parametrize("suite", [Suite.AES_256_GCM, Suite.SM4_GCM])
def test_a_slow_target_is_shared_by_all_threads(suite: Suite) -> None:
    _, body = sealing(suite, dek(suite), CONTEXT)
    room = Room(sealed_size(12 * BLOCK) - BODY_PREFIX, slow=True)
    Pump(Bytes(text(12 * BLOCK)), body, room.write, nothing, threads=3).run()
    assert len(room.threads) == 3


def test_a_source_of_unknown_size_is_read_by_the_caller_alone() -> None:
    _, body = sealing(Suite.SM4_GCM, dek(Suite.SM4_GCM), CONTEXT)
    room = Room(sealed_size(3 * BLOCK) - BODY_PREFIX, slow=True)
    Pump(Bytes(text(3 * BLOCK), known=False), body, room.write, nothing).run()
    assert room.threads == {threading.get_ident()}


@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("at", [0, 2 * RUN * SEALED + 5, 5 * RUN * SEALED])
def test_an_altered_chunk_is_one_invalid_tag_in_the_caller(suite: Suite, threads: int, at: int) -> None:
    blob = bytearray(sealed(suite, text(5 * BLOCK + 7), 1))
    blob[BODY_PREFIX + at] ^= 1
    room = Room(5 * BLOCK + 7)
    pump = Pump(Bytes(bytes(blob[BODY_PREFIX:])), body_of(suite, blob), room.write, nothing, threads=threads)
    with pytest.raises(InvalidTag):
        pump.run()
    if at < 5 * RUN * SEALED:
        start = at // (RUN * SEALED) * BLOCK
        assert not any(room.data[start : start + BLOCK]), "the block that failed was written"


@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("threads", THREADS)
def test_the_error_of_a_target_or_source_reaches_the_caller(suite: Suite, threads: int) -> None:
    data = text(9 * BLOCK)
    _, body = sealing(suite, dek(suite), CONTEXT)
    room = Room(sealed_size(len(data)), fails_at=3 * RUN * SEALED)
    with pytest.raises(OSError, match="disk full"):
        Pump(Bytes(data), body, room.write, nothing, threads=threads).run()
    _, body = sealing(suite, dek(suite), CONTEXT)
    room = Room(sealed_size(len(data)), slow=True)
    source = Bytes(data, fails_at=3 * BLOCK)
    with pytest.raises(OSError, match="cannot read"):
        Pump(source, body, room.write, nothing, threads=threads).run()
    assert source.failures == 1, "somebody read on after the error"


@pytest.mark.parametrize("threads", THREADS)
def test_a_report_that_raises_stops_all_threads(threads: int) -> None:
    raised = threading.Event()

    def stop() -> None:
        raised.set()
        raise KeyboardInterrupt

    def write(data: bytes | memoryview, offset: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            raised.wait(30)  # the others must not finish the file before the report can raise
        room.write(data, offset)

    _, body = sealing(Suite.AES_256_GCM, dek(Suite.AES_256_GCM), CONTEXT)
    source = Bytes(text(40 * BLOCK))
    room = Room(sealed_size(40 * BLOCK), slow=True)
    with pytest.raises(KeyboardInterrupt):
        Pump(source, body, write, stop, threads=threads).run()
    assert source.taken < 40 * BLOCK
