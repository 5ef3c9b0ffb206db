"""What the data-key cache did, in numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any


class Timing:
    """How many, how long together and at most, in seconds."""

    __slots__ = ("count", "longest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = self.longest = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)

    def as_dict(self) -> dict[str, float]:
        return {"count": self.count, "total": self.total, "max": self.longest}


class CacheStats:
    """Counters of one cache. Not safe for threads: the cache holds its lock."""

    def __init__(self) -> None:
        self.hits = self.misses = self.waits = 0
        self.refreshes = self.refresh_failures = self.stale = 0
        self.waiting = Timing()
        self.evictions: Counter[str] = Counter()
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.latency: defaultdict[str, Timing] = defaultdict(Timing)

    def call(self, action: str, outcome: str, seconds: float) -> None:
        """One KMS call has ended."""
        self.outcomes[action][outcome] += 1
        self.latency[action].add(seconds)

    def count(self, counter: str) -> None:
        """One more of ``hits``, ``misses`` or ``waits``."""
        setattr(self, counter, getattr(self, counter) + 1)

    def as_dict(self) -> dict[str, Any]:
        """A copy of everything, in plain dicts."""
        return {
            "hits": self.hits,
            "misses": self.misses,
            "waits": self.waits,
            "waiting": self.waiting.as_dict(),
            "refreshes": self.refreshes,
            "refresh_failures": self.refresh_failures,
            "stale": self.stale,
            "evictions": dict(self.evictions),
            "kms_calls": {action: sum(outcomes.values()) for action, outcomes in self.outcomes.items()},
            "kms_outcomes": {action: dict(outcomes) for action, outcomes in self.outcomes.items()},
            "latency": {action: timing.as_dict() for action, timing in self.latency.items()},
        }
