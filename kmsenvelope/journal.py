"""The recovery record of a re-wrap in place: the old and the new header, beside the file until it is done.

A header that is overwritten where it stands can be torn by a crash: partly old, partly new, and no longer
readable. So both are first written, flushed, to ``.NAME.kmsenvelope-rewrap``. As long as that is there:

    the file's header is    what happened               what is done
    the old one             nothing yet                 the record is removed
    a mixture of both       a crash in the middle       the new one is written
    the new one             a crash just before the end the record is removed
    anything else           another file has this name  the record is removed

Readers do the same in memory, and only when a header does not open: they write nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from .atomic import AtomicFile, PathLike
from .chunked import BODY_PREFIX
from .errors import FormatError
from .header import MAX_JSON, PREFIX_SIZE, Header, decode_header

SUFFIX = ".kmsenvelope-rewrap"

_MAGIC = b"KMSENV re-wrap 1\n"
_SIZE = struct.Struct(">I")
_DIGEST = 32
_MAX_RECORD = len(_MAGIC) + _SIZE.size + 2 * (PREFIX_SIZE + MAX_JSON) + BODY_PREFIX + _DIGEST
_LONGEST_NAME = 200

Pwrite = Callable[[int, bytes, int], int]
Step = Callable[[str], None]


class State(Enum):
    """What the header of a file is, seen from its recovery record."""

    OLD = auto()
    NEW = auto()
    TORN = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Record:
    """``old`` and ``new``: encoded headers of the same size; ``body``: the first 56 bytes after them."""

    old: bytes
    new: bytes
    body: bytes

    def encode(self) -> bytes:
        """The record's bytes, with a digest of their own."""
        data = _MAGIC + _SIZE.pack(len(self.old)) + self.old + self.new + self.body
        return data + hashlib.sha256(data).digest()

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """The record in ``data``. Raises ``ValueError`` if that is none, or damaged."""
        content, digest = data[:-_DIGEST], data[-_DIGEST:]
        if not content.startswith(_MAGIC) or hashlib.sha256(content).digest() != digest:
            raise ValueError("not a whole recovery record")
        start = len(_MAGIC) + _SIZE.size
        (size,) = _SIZE.unpack_from(content, len(_MAGIC))
        middle, end = start + size, start + 2 * size
        record = cls(content[start:middle], content[middle:end], content[end:])
        if len(record.new) != size or len(record.body) != BODY_PREFIX:
            raise ValueError("not a whole recovery record")
        return record

    def state(self, current: bytes, body: bytes) -> State:
        """What ``current`` is, the bytes in the header's place, before ``body``, the bytes after them."""
        if body != self.body or len(current) != len(self.old):
            return State.OTHER
        if current == self.new:
            return State.NEW
        if current == self.old:
            return State.OLD
        mixed = all(byte in pair for byte, *pair in zip(current, self.old, self.new, strict=True))
        return State.TORN if mixed else State.OTHER


def record_path(path: PathLike) -> Path:
    """Where the recovery record of the file at ``path`` is, if there is one; a symbolic link is followed."""
    file = Path(os.path.realpath(path))
    name = file.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return file.with_name(f".{name}{SUFFIX}")


def overwrite(
    path: PathLike, fd: int, record: Record, *, step: Step = lambda _: None, pwrite: Pwrite = os.pwrite
) -> None:
    """Put the new header in the old one's place. A crash at any moment leaves what the module says.

    Raises ``OSError``; the old header is then back in its place, or the record is still there. ``step`` is
    told of each step once it is done, ``pwrite`` writes: for tests.
    """
    where = record_path(path)
    with AtomicFile(where, overwrite=False, durable=True) as file:
        os.fchmod(file.fd, stat.S_IMODE(os.fstat(fd).st_mode))
        _write_at(file.fd, record.encode(), 0, os.pwrite)
        step("record written")
        file.commit()
    step("record named")
    try:
        _write_at(fd, record.new, 0, pwrite)
        step("header written")
        os.fsync(fd)
    except OSError:
        with suppress(OSError):
            _write_at(fd, record.old, 0, pwrite)
            os.fsync(fd)
            _remove(where)
        raise
    step("header flushed")
    _remove(where)
    step("record removed")


def recover(path: PathLike, fd: int, *, fsync: Callable[[int], None] = os.fsync) -> bool:
    """Finish a re-wrap in place that a crash has cut short; says whether there was one.

    ``fd`` is open for writing, and locked. Raises ``FormatError`` for a record that is damaged, ``OSError``.
    """
    where = record_path(path)
    record = _load(where, fd)
    if record is None:
        return False
    state = record.state(*_read(fd, len(record.old)))
    if state is not State.OTHER:
        # Also where it reads as it should: what is read may not be on the disk yet, and after a failed flush
        # the kernel takes it for written.
        _write_at(fd, record.old if state is State.OLD else record.new, 0, os.pwrite)
        fsync(fd)
    _remove(where)
    return state is not State.OTHER


def settled_header(path: PathLike, fd: int, seen: bytes | None = None) -> bytes | None:
    """The header to use instead of one that did not open, ``None`` if there is no other. Writes nothing.

    ``seen`` is what did not open; ``None``: nothing was readable. A re-wrap in place that is under way, or
    was cut short, or has just ended, explains it.
    """
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return None
    record = _load(record_path(path), fd)
    if record is not None and record.state(*_read(fd, len(record.old))) in (State.TORN, State.NEW):
        return None if seen == record.new else record.new
    start = os.pread(fd, PREFIX_SIZE, 0)
    size = _SIZE.unpack_from(start, 8)[0] if len(start) == PREFIX_SIZE else MAX_JSON + 1
    if size > MAX_JSON:
        return None
    current, _ = _read(fd, PREFIX_SIZE + size)
    return None if seen is None or current == seen else current


def header_at(path: PathLike, fd: int) -> Header:
    """The header of the regular file ``fd`` at ``path``; the new one where a crash has torn it.

    Raises ``FormatError``.
    """
    raw = os.pread(fd, PREFIX_SIZE + MAX_JSON, 0)
    try:
        header, size = decode_header(raw)
    except FormatError:
        if (settled := settled_header(path, fd)) is None:
            raise
        return decode_header(settled)[0]
    with suppress(FormatError):  # a damaged record is the business of who writes
        settled = settled_header(path, fd, raw[:size])
        return header if settled is None else decode_header(settled)[0]
    return header


def _load(where: Path, fd: int) -> Record | None:
    try:
        record = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:  # a symbolic link, or nothing that we may read
        raise FormatError(f"{where} cannot be read as a recovery record: {error.strerror}") from None
    try:
        status = os.fstat(record)
        # In a folder that others may write to, only the file's owner, root or we may say what its header is.
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in {os.fstat(fd).st_uid, os.geteuid(), 0}:
            raise FormatError(
                f"{where} is no recovery record of this file's owner: remove it if the file beside it opens; "
                f"else user {status.st_uid} was interrupted at a re-wrap and must finish it"
            )
        return Record.decode(os.pread(record, _MAX_RECORD + 1, 0))
    except ValueError as error:
        raise FormatError(f"{where}: {error}; if the file beside it opens, remove it") from None
    finally:
        os.close(record)


def _read(fd: int, size: int) -> tuple[bytes, bytes]:
    data = os.pread(fd, size + BODY_PREFIX, 0)
    return data[:size], data[size:]


def _write_at(fd: int, data: bytes, offset: int, pwrite: Pwrite) -> None:
    while data:
        written = pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def _remove(where: Path) -> None:
    where.unlink(missing_ok=True)
    folder = os.open(where.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
