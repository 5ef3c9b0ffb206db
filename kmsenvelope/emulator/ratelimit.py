"""The documented request rates, as token buckets for each action and each group of actions."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .actions import ACTIONS
from .errors import EngineError

GROUP_RATES = {"symmetric": 300}
"""Calls per second that the symmetric actions share (default edition)."""


class RateLimits:
    """Counts calls by account, region and action; a bucket holds one second's worth.

    ``rates`` replaces the documented calls per second of some actions or groups.
    """

    def __init__(self, clock: Callable[[], float], rates: dict[str, float] | None = None) -> None:
        self._clock = clock
        self._rates: dict[str, float] = {name: action.rate for name, action in ACTIONS.items()}
        self._rates |= GROUP_RATES | (rates or {})
        self._buckets: dict[tuple[str, str, str], tuple[float, float]] = {}
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Forget the calls so far."""
        with self._lock:
            self._buckets.clear()

    def take(self, account: str, region: str, action: str) -> None:
        """Count one call. Raises ``EngineError`` (RequestLimitExceeded) over the rate, uncounted."""
        group = ACTIONS[action].group
        names = [action] if group is None else [action, group]
        with self._lock:
            now = self._clock()
            levels = {name: self._level(account, region, name, now) for name in names}
            for name, level in levels.items():
                if level < 1:
                    raise EngineError(
                        "RequestLimitExceeded",
                        f"the rate of `{name}` is over its limit of `{self._rates[name]:g}` calls per second",
                    )
            for name, level in levels.items():
                self._buckets[account, region, name] = (level - 1, now)

    def _level(self, account: str, region: str, name: str, now: float) -> float:
        rate = self._rates[name]
        level, then = self._buckets.get((account, region, name), (rate, now))
        return min(rate, level + max(0.0, now - then) * rate)
