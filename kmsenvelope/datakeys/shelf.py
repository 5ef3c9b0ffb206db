"""Where cached DEKs stand: the least recently used leaves when it is full, the oldest when its time is up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from cachetools import LRUCache

from .lease import Lease


class Shelf(LRUCache[Hashable, Lease]):
    """Leases by key. Whatever leaves is retired and reported as ``on_leave(lease, cause)``.

    Not safe for threads: the caller holds its lock. All leases of one shelf have the same lifetime, so the
    order of arrival is the order of expiry.
    """

    def __init__(self, capacity: int, on_leave: Callable[[Lease, str], None]) -> None:
        super().__init__(capacity)
        self._on_leave = on_leave
        self._by_age: OrderedDict[Hashable, Lease] = OrderedDict()

    def put(self, lease: Lease) -> None:
        """Add a lease under its key; one that stood there leaves."""
        self.drop(lease.key, "renewed")
        self[lease.key] = lease
        self._by_age[lease.key] = lease

    def popitem(self) -> tuple[Hashable, Lease]:
        """Make room: what ``LRUCache`` calls when the shelf is full."""
        key, lease = super().popitem()
        self._leave(key, lease, "capacity")
        return key, lease

    def drop(self, key: Hashable, cause: str) -> None:
        """Take the lease under ``key`` off the shelf, if there is one."""
        lease = self.pop(key, None)
        if lease is not None:
            self._leave(key, lease, cause)

    def drop_where(self, unwanted: Callable[[Lease], bool], cause: str) -> int:
        """Take off every lease that ``unwanted`` says; returns how many."""
        keys = [key for key, lease in self._by_age.items() if unwanted(lease)]
        for key in keys:
            self.drop(key, cause)
        return len(keys)

    def sweep(self, now: float) -> float | None:
        """Take off what is too old at ``now``. Returns the moment of the next expiry, if anything is left."""
        while self._by_age:
            key, oldest = next(iter(self._by_age.items()))
            if now < oldest.gone_at:
                return oldest.gone_at
            self.drop(key, "age")
        return None

    def _leave(self, key: Hashable, lease: Lease, cause: str) -> None:
        del self._by_age[key]
        lease.retire()
        self._on_leave(lease, cause)
