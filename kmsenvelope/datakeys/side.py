"""One direction of the cache, encryption or decryption: its shelf, its windows, its calls in flight."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future

from ..policy import CachePolicy
from .lease import Lease
from .shelf import Shelf

UNLIMITED = float("inf")


class Side:
    """The state and the rules of one direction. Not safe for threads: the cache holds its lock.

    ``flights`` are the KMS calls under way: whoever needs the same DEK waits for one of them. ``reuses``
    tells whether a DEK may serve more than one message at all.
    """

    def __init__(
        self,
        name: str,
        policy: CachePolicy,
        on_leave: Callable[[Lease, str], None],
        *,
        max_age: float,
        max_messages: float = UNLIMITED,
        max_bytes: float = UNLIMITED,
    ) -> None:
        self.name = name
        self.shelf = Shelf(policy.capacity, on_leave)
        self.max_age = max_age
        self.reuses = max_age > 0 and max_messages > 1
        self.flights: dict[Hashable, Future[None]] = {}
        self._policy = policy
        self._max_messages = max_messages
        self._max_bytes = max_bytes

    @classmethod
    def writing(cls, policy: CachePolicy, on_leave: Callable[[Lease, str], None]) -> Side:
        """The DEKs that new messages get."""
        windows = {
            "max_age": policy.max_age,
            "max_messages": policy.max_messages,
            "max_bytes": policy.max_bytes,
        }
        return cls("encrypt", policy, on_leave, **windows)

    @classmethod
    def reading(cls, policy: CachePolicy, on_leave: Callable[[Lease, str], None]) -> Side:
        """The unwrapped DEKs of envelopes."""
        return cls("decrypt", policy, on_leave, max_age=policy.decrypt_max_age)

    def open_windows(self, lease: Lease, now: float, jitter: float) -> None:
        """Start the windows of a DEK that has just arrived. ``jitter``, 0 to 1, places its renewal point."""
        share = self._policy.refresh_ahead
        point = 1.0 if share is None else share + (1 - share) / 2 * jitter
        lease.dies_at = now + self.max_age
        lease.gone_at = lease.dies_at + self._policy.stale_if_unavailable
        lease.renew_at = now + self.max_age * point
        lease.renew_messages = self._max_messages * point
        lease.renew_bytes = self._max_bytes * point

    def usable(self, key: Hashable, size: int, now: float) -> Lease | None:
        """The lease under ``key``, if a message of ``size`` bytes may start under it now."""
        lease = self.shelf.get(key)
        if lease is None:
            return None
        if now >= lease.gone_at:
            cause = "age"
        elif lease.messages >= self._max_messages:
            cause = "messages"
        elif lease.bytes + max(size, 1) > self._max_bytes:
            cause = "bytes"
        elif now < lease.dies_at or lease.kms_is_down(now):
            return lease
        else:
            return None  # it stays for the case that the KMS turns out to be unavailable
        self.shelf.drop(key, cause)
        return None
