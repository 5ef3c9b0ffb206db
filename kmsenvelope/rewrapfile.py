"""Other keys for an envelope in a file: locked, in place where the header fits, else as a new file."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from .atomic import AtomicFile, PathLike
from .buffers import BytesLike
from .chunked import BODY_PREFIX, plain_size
from .errors import EnvelopeError
from .files import FdSink
from .header import MAGIC, MAX_JSON, PREFIX_SIZE, Header, Recipient, add_room, decode_header
from .journal import SUFFIX, Pwrite, Record, Step, header_at, overwrite, recover
from .rewrap import Rewrap
from .streams import write_all

IN_PLACE_FROM = 1 << 20
"""Bytes: a smaller file is written anew, which takes fewer flushes than a header in place."""

BLOCK = 4096
"""Bytes: file systems share blocks of this size between files, or multiples of it."""

_LARGEST = PREFIX_SIZE + MAX_JSON
_COPY = 1 << 24
_READ = 1 << 20
_COPY_RANGE: Callable[[int, int, int, int], int] = getattr(os, "copy_file_range", lambda *_: 0)  # Linux

Outcome = Literal["unchanged", "in place", "new file", "due", "no envelope", "failed"]


@dataclass(frozen=True)
class RewrapResult:
    """What a re-wrap did to one file.

    ``outcome``: ``"unchanged"`` (its keys are those wanted), ``"in place"`` or ``"new file"`` (how it was
    changed), ``"due"`` (would change; ``check`` was asked for), ``"no envelope"`` (something else, found in a
    folder) or ``"failed"``, with the ``error``. ``before`` and ``after`` are its recipients, ``calls`` the
    KMS calls made for it, by action. ``recovered``: an earlier re-wrap, cut short by a crash, was finished
    first.
    """

    path: str
    outcome: Outcome
    before: tuple[Recipient, ...] = ()
    after: tuple[Recipient, ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)
    recovered: bool = False
    error: Exception | None = None


class FileRewrap:
    """Re-wraps files, one after the other. Raises ``ValueError`` and ``TypeError`` for wrong options.

    ``in_place``: True always (``ValueError`` where the new header does not fit), False never, None where it
    fits and the file has at least 1 MiB. ``header_room``: spare bytes in the header of a new file. ``step``
    and ``pwrite``: see ``journal.overwrite``; a new file has the steps ``copied`` and ``replaced``.
    """

    def __init__(
        self,
        rewrap: Rewrap,
        *,
        in_place: bool | None = None,
        header_room: int = 0,
        step: Step = lambda _: None,
        pwrite: Pwrite = os.pwrite,
    ) -> None:
        self._rewrap = rewrap
        self._in_place = in_place
        self._room = header_room
        self._step = step
        self._pwrite = pwrite

    def check(self, path: PathLike) -> RewrapResult:
        """Whether the file's keys would change. Nothing is written; an alias may be looked up."""
        with open(path, "rb", buffering=0) as file:
            header = header_at(path, file.fileno())
        due = self._rewrap.concerns(header)
        return RewrapResult(os.fspath(path), "due" if due else "unchanged", header.recipients)

    def run(self, path: PathLike, aad: BytesLike | None) -> RewrapResult:
        """Re-wrap one file. Raises what ``Rewrap.recipients`` does, ``FormatError`` and ``OSError``."""
        calls = self._rewrap.calls()
        with _locked(path) as fd:
            recovered = recover(path, fd)
            header, size = decode_header(os.pread(fd, _LARGEST, 0))
            plain_size(os.fstat(fd).st_size - size)
            body = os.pread(fd, BODY_PREFIX, size)
            recipients = self._rewrap.recipients(header, body, aad)
            outcome: Outcome = "unchanged"
            if recipients != header.recipients:
                new = Header(header.suite, recipients, header.context_json)
                outcome = self._write(path, fd, size, new, body)
        made: Counter[str] = self._rewrap.calls()
        made.subtract(calls)
        return RewrapResult(
            os.fspath(path),
            outcome,
            header.recipients,
            recipients,
            {action: count for action, count in made.items() if count},
            recovered,
        )

    def _write(self, path: PathLike, fd: int, size: int, header: Header, body: bytes) -> Outcome:
        encoded = header.encode()
        fits = len(encoded) <= size
        if self._in_place and not fits:
            raise ValueError(
                f"the new header has {len(encoded)} bytes and the old one only {size}: re-wrap into a new "
                "file (in_place=None), with header_room for the next time"
            )
        large = os.fstat(fd).st_size >= IN_PLACE_FROM
        if fits and (self._in_place or (self._in_place is None and large)):
            new = add_room(encoded, size - len(encoded))
            record = Record(os.pread(fd, size, 0), new, body)
            overwrite(path, fd, record, step=self._step, pwrite=self._pwrite)
            return "in place"
        self._write_new(path, fd, size, add_room(encoded, self._room), align=large)
        return "new file"

    def _write_new(self, path: PathLike, fd: int, size: int, encoded: bytes, *, align: bool) -> None:
        """A new file with the old body, which the kernel copies, or shares where the file system can."""
        if align:  # blocks can be shared where they start at the same offset of a block
            with suppress(ValueError):  # no room for that in the header
                encoded = add_room(encoded, (size - len(encoded)) % BLOCK)
        with AtomicFile(path, overwrite=True, durable=True) as target:
            _hand_on_owner(fd, target.fd)
            write_all(FdSink(target.fd), encoded)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            first = -size % BLOCK if align else 0
            _copy(fd, size, target.fd, first)
            _copy(fd, size + first, target.fd, None)
            self._step("copied")
            if not _is_at(fd, path):
                raise OSError(errno.ESTALE, "another process replaced the file meanwhile", os.fspath(path))
            target.commit()
            self._step("replaced")


def rewrap_all(
    paths: Iterable[PathLike], rewrap: FileRewrap, aad: BytesLike | None, *, check: bool = False
) -> Iterator[RewrapResult]:
    """The result for each file, and for each file below each folder; an error ends none but its own.

    A folder that cannot be read is a result too: what is in it still names the old keys.
    """
    unread: list[OSError] = []
    for path, named in files_below(paths, unread.append):
        yield from _failures(unread)
        try:
            if not named and not _may_be_envelope(path):
                yield RewrapResult(path, "no envelope")
                continue
            yield rewrap.check(path) if check else rewrap.run(path, aad)
        except (EnvelopeError, OSError, ValueError) as error:
            yield RewrapResult(path, "failed", error=error)
    yield from _failures(unread)


def _failures(errors: list[OSError]) -> Iterator[RewrapResult]:
    while errors:
        error = errors.pop(0)
        yield RewrapResult(str(error.filename), "failed", error=error)


def files_below(paths: Iterable[PathLike], on_error: Callable[[OSError], None]) -> Iterator[tuple[str, bool]]:
    """Each path, and whether it was given itself; of a folder the regular files below it, in order.

    Symbolic links in a folder are not followed. What this package itself writes beside a file is left out.
    ``on_error`` gets the error of a folder or file below that cannot be looked at.
    """
    for given in paths:
        path = os.fspath(given)
        if not os.path.isdir(path):
            yield path, True
            continue
        for folder, folders, names in os.walk(path, onerror=on_error):
            folders.sort()
            for name in sorted(names):
                file = os.path.join(folder, name)
                own = name.startswith(".") and name.endswith((SUFFIX, ".kmsenvelope-tmp"))
                if not own and _is_regular(file, on_error):
                    yield file, False


def _is_regular(path: str, on_error: Callable[[OSError], None]) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:  # removed since the folder was listed
        return False
    except OSError as error:
        on_error(error)
        return False


def _may_be_envelope(path: str) -> bool:
    with open(path, "rb", buffering=0) as file:
        return file.read(len(MAGIC)) == MAGIC


@contextmanager
def _locked(path: PathLike) -> Iterator[int]:
    """The file at ``path``, open for reading and writing, and nobody else re-wraps it meanwhile."""
    name = os.fspath(path)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file: re-wrap it as bytes", name)
            if not status.st_mode & 0o222:  # the superuser could, and should not
                raise PermissionError(errno.EACCES, "the file is read-only: make it writable first", name)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(errno.EAGAIN, "another process is re-wrapping the file", name) from None
            if _is_at(fd, path):
                yield fd
                return
        finally:
            os.close(fd)


def _is_at(fd: int, path: PathLike) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _hand_on_owner(source: int, target: int) -> None:
    """Owner and group of one file to another, as far as we may: who is not root may give the group alone."""
    status = os.fstat(source)
    for owner in (status.st_uid, -1):
        try:
            os.fchown(target, owner, status.st_gid)
        except PermissionError:
            continue
        return


def _copy(
    source: int,
    offset: int,
    target: int,
    size: int | None,
    copy_range: Callable[[int, int, int, int], int] = _COPY_RANGE,
) -> None:
    """Append ``size`` bytes (None: all the rest) of ``source`` from ``offset`` to ``target``."""
    end = os.fstat(source).st_size if size is None else min(offset + size, os.fstat(source).st_size)
    while offset < end:
        try:
            copied = copy_range(source, target, min(end - offset, _COPY), offset)
        except OSError as error:
            if error.errno not in {errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}:
                raise
            copied = 0
        if not copied:  # not on this file system
            data = os.pread(source, min(end - offset, _READ), offset)
            if not data:
                raise OSError(errno.EIO, "the file became shorter while it was copied")
            write_all(FdSink(target), data)
            copied = len(data)
        offset += copied
