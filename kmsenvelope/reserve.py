"""Disk space for a file of known size, set aside before it is written: ext4 then writes much faster."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

SMALLEST = 16 << 20
"""Bytes. Below, loading ctypes costs more than is gained."""

_KEEP_SIZE = 1  # linux/falloc.h


def reserve(fd: int, size: int) -> None:
    """Have the file system set ``size`` bytes aside for ``fd``, whose length stays as it is.

    Only a hint: where the system or the file system cannot do it, or has no room, nothing happens.
    ``os.posix_fallocate`` will not do: it changes the length, and writes zeros where the file system cannot.
    """
    if size >= SMALLEST and (fallocate := _fallocate()) is not None:
        fallocate(fd, _KEEP_SIZE, 0, size)


@cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    library = ctypes.CDLL(None)
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)  # glibc, musl
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function
