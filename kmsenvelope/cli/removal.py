"""``--remove-source``: a source that may be removed once its copy is safe, and not before."""

from __future__ import annotations

import os
import stat

from .exits import UsageError


class Removal:
    """Looks at a source before the work, and removes it after.

    Refuses what would leave the data behind under another name: a symbolic link, a file with several hard
    links. Raises ``UsageError``, ``OSError``.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"--remove-source: {path} is not a regular file")
        if status.st_nlink > 1:
            raise UsageError(f"--remove-source: {path} has another name (a hard link), which would stay")
        self._seen = _version(status)

    def carry_out(self) -> None:
        """Remove the source, unless it was changed or replaced since: then the copy may be out of date."""
        if _version(os.lstat(self._path)) != self._seen:
            raise OSError(0, "changed while it was read: it is kept", self._path)
        os.unlink(self._path)


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
