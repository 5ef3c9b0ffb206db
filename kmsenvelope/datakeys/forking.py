"""Caches around ``os.fork``: no lock is left held and no key is left in the child."""

from __future__ import annotations

import os
import weakref
from threading import Lock
from typing import Protocol


class Forkable(Protocol):
    """Something with a lock, to be emptied in the child while that lock is held."""

    _lock: Lock

    def _after_fork(self) -> None: ...


_forking = Lock()
_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
_held: list[Forkable] = []


def register(cache: Forkable) -> None:
    """From now on ``cache._after_fork`` runs in every forked child. Held weakly."""
    with _forking:
        _known.add(cache)


def _before() -> None:
    # Holding the locks across the fork means that the child finds every cache in a consistent state.
    _forking.acquire()
    for cache in list(_known):
        cache._lock.acquire()
        _held.append(cache)


def _after_in_parent() -> None:
    while _held:
        _held.pop()._lock.release()
    _forking.release()


def _after_in_child() -> None:
    while _held:
        cache = _held.pop()
        cache._after_fork()
        cache._lock.release()
    _forking.release()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
