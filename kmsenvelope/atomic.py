"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import Self

PathLike = str | os.PathLike[str]

_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}


class AtomicFile:
    """A new file beside ``path``, which gets that name on ``commit`` and vanishes on ``discard``.

    On Linux it has no name until then (``O_TMPFILE``), so that nothing stays behind even after SIGKILL;
    elsewhere it is ``.NAME.RANDOM.kmsenvelope-tmp``. A file that is replaced hands on its permissions; a
    symbolic link stays, and the file that it names is replaced.

    ``overwrite=False`` raises ``FileExistsError`` at once if ``path`` exists, and again on ``commit`` if it
    came to exist meanwhile. ``durable`` flushes the file and its folder to the disk. Raises ``OSError``.
    """

    _no_name = hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd")

    def __init__(self, path: PathLike, *, overwrite: bool, durable: bool = False) -> None:
        self.path = Path(os.path.realpath(path))
        self._overwrite = overwrite
        self._durable = durable
        self._owner = os.getpid()
        self._temporary: Path | None = None
        mode = self._check_destination()
        self.fd = self._open(mode)

    def commit(self) -> None:
        """Give the file its name. Whatever fails, the file is discarded and the destination is as it was.

        But if the folder cannot be flushed in the end, which ``durable`` asks for, the file has its name.
        """
        folder = -1
        try:
            if self._durable:
                folder = os.open(self.path.parent, os.O_RDONLY)
                os.fsync(self.fd)
            self._link()
            if folder >= 0:
                os.fsync(folder)
        finally:
            self.discard()
            if folder >= 0:
                os.close(folder)

    def discard(self) -> None:
        """Close and forget the file if it has no name yet. May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self._temporary is not None and self._owner == os.getpid():
            self._temporary.unlink(missing_ok=True)
        self._temporary = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.discard()

    def _check_destination(self) -> int | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "the destination is a folder", str(self.path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(
                errno.EINVAL, "the destination is not a regular file; write to it as a stream", str(self.path)
            )
        if not self._overwrite:
            raise self._exists()
        return stat.S_IMODE(status.st_mode)

    def _open(self, mode: int | None) -> int:
        folder = self.path.parent
        # Whoever may not read the file that is replaced must not open this one before fchmod either.
        first = 0o666 if mode is None else 0o600
        flags = os.O_WRONLY | getattr(os, "O_CLOEXEC", 0)
        fd = -1
        if self._no_name:
            try:
                fd = os.open(folder, flags | os.O_TMPFILE, first)
            except OSError as error:
                if error.errno not in _NO_TMPFILE or not folder.is_dir():
                    raise _name(error, self.path) from None
        if fd < 0:
            self._temporary = self._temporary_name()
            try:
                fd = os.open(self._temporary, flags | os.O_CREAT | os.O_EXCL, first)
            except OSError as error:
                self._temporary = None
                raise _name(error, self.path) from None
        if mode is not None:
            os.fchmod(fd, mode)
        return fd

    def _link(self) -> None:
        if self._temporary is None and not self._overwrite:
            self._name_it(self.path)
            return
        if self._temporary is None:
            temporary = self._temporary_name()
            self._name_it(temporary)
            self._temporary = temporary
        if self._overwrite:
            os.replace(self._temporary, self.path)
            self._temporary = None
            return
        try:
            os.link(self._temporary, self.path)
        except FileExistsError:
            raise self._exists() from None
        except OSError:  # a file system without hard links, where no rename refuses to replace
            if os.path.lexists(self.path):
                raise self._exists() from None
            os.replace(self._temporary, self.path)
            self._temporary = None

    def _name_it(self, name: Path) -> None:
        # linkat follows the /proc link only when CPython takes its dir_fd path.
        # O_PATH: a folder that may be written to need not be readable.
        folder = os.open(name.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(f"/proc/self/fd/{self.fd}", name, src_dir_fd=folder, follow_symlinks=True)
        except FileExistsError:
            raise self._exists() from None
        finally:
            os.close(folder)

    def _temporary_name(self) -> Path:
        # 50 characters are at most 200 of the 255 bytes that a name may have.
        return self.path.with_name(f".{self.path.name[:50]}.{secrets.token_hex(6)}.kmsenvelope-tmp")

    def _exists(self) -> FileExistsError:
        return FileExistsError(
            errno.EEXIST, "the destination exists; overwrite=True or mode 'wb' replaces it", str(self.path)
        )


def _name(error: OSError, path: Path) -> OSError:
    return type(error)(error.errno, error.strerror, str(path))
