"""Envelopes as files: a writer that seals and a reader that opens and seeks. Real ``io`` objects."""

from __future__ import annotations

import errno
import io
import os
import warnings
from collections.abc import Callable
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag

from .chunked import BODY_PREFIX, CHUNK, SEALED, ChunkCipher, StreamCipher, plain_size
from .ciphers import TAG_SIZE
from .errors import AuthenticationError, TruncatedError
from .header import Header

WRITE_BLOCK = 65_536
READ_RUN = 64


class Source(Protocol):
    """What can be read from: any object with ``read``."""

    def read(self, size: int, /) -> bytes | None:
        """At most ``size`` bytes; none at the end."""


class Sink(Protocol):
    """What can be written to: any object with ``write``."""

    def write(self, data: bytes | memoryview, /) -> int | None:
        """Take ``data`` or a part of it; returns the bytes taken, or None for all of them."""


def write_all(sink: Sink, data: bytes | memoryview) -> None:
    """Write ``data``, however little the sink takes at a time. ``BlockingIOError`` if it takes none now."""
    while data:
        taken = sink.write(data)
        if taken is None and isinstance(sink, io.RawIOBase):
            raise BlockingIOError("the sink is non-blocking and takes no data now")
        if taken is None or taken == len(data):
            return
        if not 0 <= taken < len(data):
            raise OSError(f"the sink reported {taken} bytes written of {len(data)}")
        data = memoryview(data)[taken:]


def read_exactly(source: Source, size: int) -> bytes:
    """``size`` bytes, fewer only at the end, however little the source gives at a time.

    Raises ``TypeError`` for a source of text, ``BlockingIOError`` for one that would have to wait.
    """
    pieces: list[bytes] = []
    left = size
    while left:
        piece: Any = source.read(left)
        if piece is None:
            raise BlockingIOError("the source is non-blocking and has no data now")
        if isinstance(piece, str):
            raise TypeError("the source gives str: open it in binary mode")
        if not piece:
            break
        if len(piece) > left:
            raise OSError(f"the source gave {len(piece)} bytes where {left} were asked for")
        pieces.append(piece)
        left -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class EncryptingWriter(io.BufferedWriter):
    """A binary file opened for writing: what is written is sealed and passed on, block by block.

    ``close`` seals the last chunk; until then nothing that was written decrypts. Leaving a ``with`` block on
    an exception, ``abort``, a failed write and being dropped unclosed all leave an envelope that does not
    decrypt, or under a path no file at all. After a failed write every other one and ``close`` raise
    ``OSError``. A wrapper that closes what it wraps, such as ``io.TextIOWrapper``, does so after an exception
    too, and so finishes the envelope: keep this object in the ``with`` statement, and end the wrapper with
    ``detach()``. ``header`` is the envelope's header, ``tell`` counts plaintext.
    Not seekable. Safe to share between threads as an ``io.BufferedWriter`` is: writes do not interleave.
    """

    def __init__(
        self,
        sink: Sink,
        header: Header,
        cipher: StreamCipher,
        *,
        on_bytes: Callable[[int], None],
        commit: Callable[[], None],
        discard: Callable[[], None],
    ) -> None:
        self._sealer = _Sealer(sink, cipher, on_bytes, commit, discard)
        super().__init__(self._sealer, WRITE_BLOCK)
        self.header = header

    def close(self) -> None:
        """Seal the last chunk; a destination named by its path appears. Raises ``OSError``."""
        lost = not self.closed and self._sealer.failed and not self._sealer.aborted
        super().close()
        if lost:
            raise _lost()

    def abort(self) -> None:
        """Close without finishing the envelope; a destination named by its path is as it was before."""
        self._sealer.aborted = True
        self.close()

    def detach(self) -> io.RawIOBase:
        """Not possible: the envelope would never be finished."""
        raise io.UnsupportedOperation("an envelope being written cannot be detached")

    def __exit__(self, exc_type: type[BaseException] | None, *exc: object) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if not self.closed:
            warnings.warn(
                f"unclosed {self!r}: its envelope is lost", ResourceWarning, stacklevel=1, source=self
            )
            self.abort()

    def __repr__(self) -> str:
        return f"<EncryptingWriter {self.header.suite}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an envelope being written cannot be pickled")


def _lost() -> OSError:
    return OSError(errno.EIO, "an earlier write failed: this envelope is lost")


class _Sealer(io.RawIOBase):
    """The raw end of the writer. Once ``aborted`` it swallows what comes and never seals the last chunk."""

    def __init__(
        self,
        sink: Sink,
        cipher: StreamCipher,
        on_bytes: Callable[[int], None],
        commit: Callable[[], None],
        discard: Callable[[], None],
    ) -> None:
        self._sink = sink
        self._cipher = cipher
        self._on_bytes = on_bytes
        self._commit = commit
        self._discard = discard
        self._count = 0
        self.failed = False
        self.aborted = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._count

    def write(self, data: Any, /) -> int:
        size = len(data)
        if self.aborted:
            return size
        if self.failed:  # io.BufferedWriter kept what is sealed already, and writes it again
            raise _lost()
        try:
            write_all(self._sink, self._cipher.update(data))
            self._on_bytes(size)
        except BaseException:
            self.failed = True
            raise
        self._count += size
        return size

    def close(self) -> None:
        if self.closed:
            return
        try:
            if not (self.aborted or self.failed):
                write_all(self._sink, self._cipher.finalize())
                self._commit()
        except BaseException:
            self.failed = True
            raise
        finally:
            if self.aborted or self.failed:
                self._discard()
            super().close()

    def __del__(self) -> None:
        self.aborted = True
        self.close()


class DecryptingReader(io.BufferedReader):
    """A binary file opened for reading: gives plaintext, each byte only after its chunk was authenticated.

    Seeks where its source does; a seek from the end authenticates the last chunk first, which proves the
    length. Raises ``TruncatedError`` where the data ends too early and ``AuthenticationError`` where a chunk
    is not authentic, never a short read instead. ``header`` is the envelope's header.
    """

    def __init__(
        self, source: Source, header: Header, cipher: ChunkCipher, *, start: int | None, owns_source: bool
    ) -> None:
        self._opener = _Opener(source, cipher, start, owns_source)
        super().__init__(self._opener, CHUNK)
        self.header = header

    def __repr__(self) -> str:
        return f"<DecryptingReader {self.header.suite}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an open envelope cannot be pickled")


class _Opener(io.RawIOBase):
    """The raw end of the reader: opens chunks of the body by their index."""

    def __init__(self, source: Source, cipher: ChunkCipher, start: int | None, owns_source: bool) -> None:
        self._source: Any = source
        self._cipher = cipher
        self._start = start  # where chunk 0 starts in a source that seeks, else None
        self._owns_source = owns_source
        self._readinto = getattr(source, "readinto", None)
        self._failure: AuthenticationError | None = None
        self._pos = 0
        self._size: int | None = None
        self._next = 0  # the chunk that the source stands at
        self._sealed = memoryview(bytearray(SEALED))
        self._chunk = bytearray(CHUNK)  # the plaintext of one chunk, of which a part was asked for
        self._chunk_index = -1
        self._chunk_size = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._start is not None

    def tell(self) -> int:
        return self._pos

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if self._start is None:
            raise io.UnsupportedOperation("the source of this envelope does not seek")
        if whence == os.SEEK_END:
            offset += self._measure()
        elif whence == os.SEEK_CUR:
            offset += self._pos
        elif whence != os.SEEK_SET:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        if offset < 0:
            raise ValueError(f"cannot seek to {offset}, before the start")
        self._pos = offset
        return offset

    def readinto(self, buffer: Any, /) -> int:
        out = memoryview(buffer).cast("B")
        index, offset = divmod(self._pos, CHUNK)
        if not out or (self._size is not None and self._pos >= self._size):
            return 0
        if self._failure is not None:
            raise self._failure
        try:
            if offset == 0 and len(out) >= CHUNK:
                size = self._open_run(index, out)
            else:
                size = self._copy_part(index, offset, out)
        except AuthenticationError as error:
            # A source that does not seek cannot be asked again: the first answer stands.
            self._failure = error if self._start is None else None
            raise
        self._pos += size
        return size

    def readall(self) -> bytes:
        whole = io.BytesIO()  # whose getvalue() does not copy
        block = memoryview(bytearray(READ_RUN * CHUNK))
        while size := self.readinto(block):
            whole.write(block[:size])
        return whole.getvalue()

    def close(self) -> None:
        if not self.closed and self._owns_source:
            self._source.close()
        super().close()

    def _open_run(self, index: int, out: memoryview) -> int:
        """Open whole chunks from ``index`` straight into ``out``."""
        chunks = min(len(out) // CHUNK, READ_RUN)
        sealed = self._fetch(index, chunks)
        if not sealed:
            return self._after_end(index)
        size = self._open(index, sealed, out)
        if len(sealed) % SEALED:  # only a short chunk is the last one: a full one at the end is a cut
            self._size = index * CHUNK + size
        return size

    def _copy_part(self, index: int, offset: int, out: memoryview) -> int:
        if index != self._chunk_index:
            self._load(index)
        if self._chunk_index != index:
            return 0
        size = max(0, min(len(out), self._chunk_size - offset))
        out[:size] = memoryview(self._chunk)[offset : offset + size]
        return size

    def _load(self, index: int) -> None:
        """Open chunk ``index`` into ``_chunk``. Past the end it stays unloaded."""
        sealed = self._fetch(index, 1)
        if not sealed:
            self._after_end(index)
            return
        self._chunk_index = -1
        self._chunk_size = self._open(index, sealed, memoryview(self._chunk))
        self._chunk_index = index
        if len(sealed) < SEALED:
            self._size = index * CHUNK + self._chunk_size

    def _open(self, index: int, sealed: memoryview, out: memoryview) -> int:
        if len(sealed) % SEALED and len(sealed) % SEALED < TAG_SIZE:
            raise TruncatedError
        try:
            return self._cipher.open_run(index, sealed, out)
        except InvalidTag:
            raise AuthenticationError from None

    def _after_end(self, index: int) -> int:
        """The source has nothing where chunk ``index`` would start: past the end, or cut between chunks."""
        if self._start is None or self._pos < self._measure():
            raise TruncatedError
        return 0

    def _measure(self) -> int:
        """The length of the plaintext, proved by opening the last chunk."""
        if self._size is None:
            assert self._start is not None
            end = self._source.seek(0, os.SEEK_END)
            size = plain_size(end - self._start + BODY_PREFIX)
            self._next = -1
            self._load(size // CHUNK)
            if self._size != size:
                raise TruncatedError
        return self._size

    def _fetch(self, index: int, chunks: int) -> memoryview:
        """Up to ``chunks`` sealed chunks from ``index``; fewer bytes only at the end of the source."""
        if index != self._next:
            if self._start is None:
                raise OSError("an earlier read of the source failed")
            self._source.seek(self._start + index * SEALED)
        self._next = -1
        wanted = chunks * SEALED
        if len(self._sealed) < wanted:
            self._sealed = memoryview(bytearray(wanted))
        size = self._fill(self._sealed[:wanted])
        self._next = -1 if size % SEALED else index + size // SEALED
        return self._sealed[:size]

    def _fill(self, view: memoryview) -> int:
        if self._readinto is None:
            data = read_exactly(self._source, len(view))
            view[: len(data)] = data
            return len(data)
        wanted, done = len(view), 0
        while done < wanted:
            size = self._readinto(view[done:] if done else view)
            if not size:
                if size is None:
                    raise BlockingIOError("the source is non-blocking and has no data now")
                break
            done += size
        return done
