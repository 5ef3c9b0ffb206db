"""A clock that tests can move."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class MovableClock:
    """Unix seconds, as a callable: the real time plus an offset, or a fixed time after ``freeze``."""

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._offset = 0.0
        self._frozen: float | None = None
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            return self._now()

    def _now(self) -> float:
        return self._source() + self._offset if self._frozen is None else self._frozen

    def advance(self, seconds: float = 0, *, hours: float = 0, days: float = 0) -> None:
        """Move forward (or, with negative numbers, back)."""
        step = seconds + 3600 * hours + 86400 * days
        with self._lock:
            self._offset += step
            if self._frozen is not None:
                self._frozen += step

    def set(self, now: float) -> None:
        """Go to the time ``now``."""
        with self._lock:
            self._offset = now - self._source()
            if self._frozen is not None:
                self._frozen = now

    def reset(self) -> None:
        """Back to real time."""
        with self._lock:
            self._offset, self._frozen = 0.0, None

    def freeze(self) -> None:
        """Stop: from now on only ``advance`` and ``set`` move it."""
        with self._lock:
            self._frozen = self._now()

    def run(self) -> None:
        """Go on from where it is, at the pace of real time."""
        with self._lock:
            if self._frozen is not None:
                self._offset = self._frozen - self._source()
                self._frozen = None
