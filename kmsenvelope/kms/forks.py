"""Locks that a forked child finds open, whatever the parent's threads were doing."""

from __future__ import annotations

import os
import weakref
from threading import Lock


class ForkLock:
    """A ``threading.Lock`` for ``with``; new in the child after ``fork``."""

    def __init__(self) -> None:
        self._lock = Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_locks: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _renew() -> None:
    for lock in list(_locks):
        lock._lock = Lock()


os.register_at_fork(after_in_child=_renew)
