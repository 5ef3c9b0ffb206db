"""What the data-key cache tells of itself while it works: events for a hook and for the log."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

log = logging.getLogger("kmsenvelope.datakeys")

_WARNINGS = frozenset({"stale", "refresh_failed"})


class CacheEvent(NamedTuple):
    """One event: a name (docs/caching.md lists them) and details that hold no key."""

    name: str
    details: Mapping[str, object]


EventHook = Callable[[CacheEvent], None]


class Events:
    """Noted under the cache's lock, told without it: a hook or a log handler may use the cache itself."""

    def __init__(self, hook: EventHook | None) -> None:
        self.hook = hook
        self._noted: deque[CacheEvent] = deque()

    def note(self, name: str, **details: object) -> None:
        """Remember an event until ``tell``."""
        self._noted.append(CacheEvent(name, details))

    def tell(self) -> None:
        """Log and hand on what was noted. Called with no lock held."""
        while self._noted:
            try:
                event = self._noted.popleft()
            except IndexError:  # another thread was faster
                return
            _log_event(event)
            if self.hook is not None:
                try:
                    self.hook(event)
                except Exception:  # a broken hook must not break encryption
                    log.exception("the on_event hook failed on %s", event.name)

    def clear(self) -> None:
        """Forget what was noted and not told."""
        self._noted.clear()


def _log_event(event: CacheEvent) -> None:
    urgent = event.name in _WARNINGS or event.details.get("cause") == "refused"
    level = logging.WARNING if urgent else logging.DEBUG
    if log.isEnabledFor(level):
        log.log(
            level, "%s: %s", event.name, ", ".join(f"{name}={value}" for name, value in event.details.items())
        )
