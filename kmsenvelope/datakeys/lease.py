"""One cached DEK as its users see it: a lease that keeps the buffer from being wiped while they work."""

from __future__ import annotations

from threading import Lock
from types import TracebackType
from typing import NoReturn, Self, SupportsIndex

from ..header import Header
from ..secret import Secret


class Lease:
    """The right to use one DEK until the ``with`` block ends, once for each call that handed it out.

    Many callers hold the same object at the same time. ``dek`` is for reading only; ``header`` is the encoded
    header of new envelopes, ``header_value`` the same as a value. The other attributes are the cache's own,
    guarded by its lock.
    """

    __slots__ = (
        "_lock",
        "bytes",
        "dek",
        "dies_at",
        "down_until",
        "failures",
        "gone_at",
        "header",
        "header_value",
        "key",
        "messages",
        "opener",
        "renew_at",
        "renew_bytes",
        "renew_messages",
        "renewing",
        "retired",
        "retry_at",
        "stale_told",
        "users",
    )

    def __init__(self, lock: Lock, key: object, dek: Secret, header: Header, encoded: bytes) -> None:
        self._lock = lock
        self.key = key
        self.dek = dek
        self.header = encoded
        self.header_value = header
        self.opener: str | None = None
        self.messages = self.bytes = self.users = 0
        self.renew_at = self.dies_at = self.gone_at = self.retry_at = 0.0
        self.renew_messages: float = 0
        self.renew_bytes: float = 0
        self.down_until = 0.0
        self.failures = 0
        self.renewing = self.retired = self.stale_told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self.users -= 1
            if self.retired and self.users <= 0:
                self.dek.wipe()

    def charge(self, size: int) -> None:
        """Count ``size`` bytes that a stream has just taken. Also after the block's end; never raises."""
        with self._lock:
            self.bytes += size

    def renewal_due(self, size: int, now: float) -> bool:
        """Whether one more message of ``size`` bytes is a reason to fetch the next DEK."""
        if self.renewing or now < self.retry_at:
            return False
        return (
            now >= self.renew_at
            or self.messages + 1 > self.renew_messages
            or self.bytes + size > self.renew_bytes
        )

    def kms_is_down(self, now: float) -> bool:
        """Whether the last call failed for a transient reason, not long ago or with the next under way."""
        return self.down_until > 0 and (self.renewing or now < self.down_until)

    def retire(self) -> None:
        """No new message from now on; wiped with the last user. Called under the lock."""
        self.retired = True
        if self.users <= 0:
            self.dek.wipe()

    def names(self, key_id: str) -> bool:
        """Whether the DEK is wrapped for that key."""
        return key_id in self.key_ids()

    def key_ids(self) -> tuple[str, ...]:
        """The keys that the DEK is wrapped for."""
        return tuple(recipient.key_id for recipient in self.header_value.recipients)

    def __del__(self) -> None:
        # A caller that died between getting the lease and its ``with`` block never gives it back.
        self.dek.wipe()

    def __repr__(self) -> str:
        return f"<Lease of a {len(self.dek)}-byte DEK>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a data key is never pickled or copied")
