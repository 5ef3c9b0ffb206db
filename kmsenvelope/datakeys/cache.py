"""DataKeys: which DEK a new message gets, and the unwrapped DEKs of envelopes being read."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any, NoReturn, Protocol, Self, SupportsIndex

from ..errors import KeyUnavailable, KmsAccessDenied, KmsError, KmsThrottled, KmsUnavailable
from ..header import Header, Recipient
from ..policy import CachePolicy
from ..secret import Secret
from ..suites import Suite
from . import forking
from .events import EventHook, Events
from .housekeeper import Housekeeper
from .lease import Lease
from .side import Side
from .stats import CacheStats

RETRY_SECONDS = 5.0
"""Pause after a failed renewal, doubled with each failure, at most an eighth of the window; jittered."""

# A window also closes while the machine sleeps, which Linux's monotonic clock does not notice.
_seconds: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
_SYSTEM_RANDOM = random.SystemRandom()  # forked workers must not share their jitter
_TRANSIENT = (KmsUnavailable, KmsThrottled)
WRITING_ACTIONS = frozenset({"GenerateDataKey", "Encrypt"})

Observer = Callable[[str, str, Exception | None, float], None]
"""Told of each KMS call: action, key id, error or ``None``, seconds."""

Fetch = Callable[[Observer], tuple[bytearray, Header, str | None]]


class Keys(Protocol):
    """What the cache needs of a ``KeySet``."""

    def generate(
        self, suite: Suite, context_json: str | None, observe: Observer
    ) -> tuple[bytearray, tuple[Recipient, ...]]:
        """A new DEK and its recipients."""

    def unwrap(self, header: Header, observe: Observer) -> tuple[bytearray, Recipient]:
        """The DEK of an envelope, and the recipient that gave it."""


class DataKeys:
    """The data-key cache of one key set and suite. Safe to share between threads; empty in a forked child.

    ``clock`` gives seconds that never go back, ``rand`` a number from 0 to 1 for the jitter of renewals,
    ``housekeeper`` the background: each can be replaced in tests. Use as a context manager or ``close`` it.
    """

    def __init__(
        self,
        keyset: Keys,
        suite: Suite,
        policy: CachePolicy | None = None,
        *,
        clock: Callable[[], float] = _seconds,
        on_event: EventHook | None = None,
        rand: Callable[[], float] = _SYSTEM_RANDOM.random,
        housekeeper: Callable[[Callable[[], float | None]], Housekeeper] = Housekeeper,
    ) -> None:
        self.policy = policy = policy or CachePolicy()
        self._keyset = keyset
        self._suite = suite
        self._clock = clock
        self._rand = rand
        self._lock = Lock()
        self._events = Events(on_event)
        self._stats = CacheStats()
        self._closed = False
        self._epoch = 0
        self._writers = Side.writing(policy, partial(self._left, "encrypt"))
        self._readers = Side.reading(policy, partial(self._left, "decrypt"))
        self._writing, self._reading = self._writers.shelf, self._readers.shelf
        self._housekeeper = housekeeper(self._sweep)
        forking.register(self)

    # The way in: what is here and well within its windows costs one lock and one look.

    def for_writing(self, context_json: str | None, size: int | None = None) -> Lease:
        """The DEK for a new message of ``size`` bytes (``None``: not known yet), which is charged for it.

        Raises ``KmsError`` if a DEK is needed and the KMS gives none, ``ValueError`` once closed.
        """
        size = size or 0
        with self._lock:
            try:
                lease = self._writing[context_json]
            except KeyError:
                pass
            else:
                messages = lease.messages + 1
                charged = lease.bytes + size
                if (
                    messages <= lease.renew_messages
                    and charged < lease.renew_bytes
                    and self._clock() < lease.renew_at
                ):
                    lease.messages = messages
                    lease.bytes = charged
                    lease.users += 1
                    self._stats.hits += 1
                    return lease
        return self._obtain(self._writers, context_json, size, partial(self._generate, context_json))

    def known(self, raw: bytes) -> Lease | None:
        """The DEK of an envelope whose header is exactly ``raw``, if it is here; never calls the KMS."""
        with self._lock:
            try:
                lease = self._reading[raw]
            except KeyError:
                return None
            if self._clock() < lease.renew_at:
                lease.users += 1
                self._stats.hits += 1
                return lease
        return None

    def for_reading(self, header: Header) -> Lease:
        """The DEK of an envelope, by its suite, recipients and encryption context.

        Raises ``NoUsableKey`` or ``KmsError`` if it is not here and cannot be unwrapped, ``ValueError`` once
        closed.
        """
        try:
            key: Hashable = header.encode()
        except ValueError:  # written by others, and longer in our spelling than the format allows
            key = header
        return self._obtain(self._readers, key, 0, partial(self._unwrap, header))

    # What the owner may do and see.

    def forget(self, key_id: str) -> None:
        """Drop every DEK that is wrapped for this key, on both sides. A message in flight finishes."""
        with self._lock:
            self._epoch += 1
            for shelf in (self._writing, self._reading):
                shelf.drop_where(lambda lease: lease.names(key_id), "forgotten")
        self._events.tell()

    def stats(self) -> dict[str, Any]:
        """A snapshot of the counters, and how many DEKs are held. Times are in seconds."""
        with self._lock:
            held = {"encrypt": len(self._writing), "decrypt": len(self._reading)}
            return {**self._stats.as_dict(), "held": held}

    def close(self) -> None:
        """Wipe every DEK; one in use is wiped when its message has it no more. May be called again."""
        with self._lock:
            self._closed = True
            self._empty("closed")
        self._housekeeper.stop()
        self._events.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a data-key cache is never pickled or copied")

    # The slow way: renewals, misses, waits, faults.

    def _obtain(self, side: Side, key: Hashable, size: int, fetch: Fetch) -> Lease:
        counter = "hits"
        own: Future[None] = Future()  # made here, so that no interrupt can part it from its cleaning up
        try:
            if not side.reuses:
                counter = "misses"
                return self._one_off(side, key, size, fetch)
            while True:
                lease, flight = self._look(side, key, size, fetch, own)
                if lease is not None:
                    return lease
                try:
                    if flight is own:
                        counter = "misses"
                        return self._fly(side, key, own, fetch, size)
                    counter = "waits"
                    self._wait(flight)
                except Exception:
                    lease, _ = self._look(side, key, size, None, own)
                    if lease is None:
                        raise
                    return lease
        finally:
            if not own.done() and (counter == "misses" or side.flights.get(key) is own):
                self._landed(side, key, own)  # this thread is told to stop; the others try again
            with self._lock:
                self._stats.count(counter)
            self._events.tell()

    def _look(
        self, side: Side, key: Hashable, size: int, fetch: Fetch | None, own: Future[None]
    ) -> tuple[Lease | None, Future[None]]:
        """A lease that may serve now; else the call to wait for, ``own`` if this caller is to make it.

        ``fetch`` is how a renewal gets the next DEK; ``None``: only look.
        """
        with self._lock:
            if self._closed:
                raise ValueError("the client is closed")
            now = self._clock()
            flight = side.flights.get(key)
            lease = side.usable(key, size, now)
            if lease is not None:
                if fetch is not None and flight is None and lease.renewal_due(size, now):
                    lease.renewing = True
                    self._housekeeper.soon(partial(self._renew, side, lease, fetch))
                self._take(lease, size, now)
                return lease, own
            if flight is not None or fetch is None:
                return None, flight or own
            side.flights[key] = own
            return None, own

    def _take(self, lease: Lease, size: int, now: float) -> None:
        lease.messages += 1
        lease.bytes += size
        lease.users += 1
        if now >= lease.dies_at > 0 and lease.down_until > 0:
            self._stats.stale += 1
            if not lease.stale_told:
                lease.stale_told = True
                self._events.note(
                    "stale", key_ids=lease.key_ids(), seconds_left=round(lease.gone_at - now, 3)
                )

    def _wait(self, flight: Future[None]) -> None:
        start = time.perf_counter()
        try:
            flight.result()
        finally:
            with self._lock:
                self._stats.waiting.add(time.perf_counter() - start)

    def _renew(self, side: Side, lease: Lease, fetch: Fetch) -> None:
        """In the background: the next DEK in place of ``lease``, unless somebody else is at it."""
        with self._lock:
            if lease.retired or side.flights.get(lease.key) is not None:
                lease.renewing = False
                return
            flight = side.flights[lease.key] = Future()
        try:
            self._fly(side, lease.key, flight, fetch, None)
        except Exception:  # noqa: BLE001, S110 - told by _failed; a caller meets it once the window closes
            pass
        finally:
            if not flight.done():
                self._landed(side, lease.key, flight)
            with self._lock:
                lease.renewing = False
            self._events.tell()

    def _fly(self, side: Side, key: Hashable, flight: Future[None], fetch: Fetch, size: int | None) -> Lease:
        """Make the one call for ``key``: for a message of ``size`` bytes, or ``None``, a renewal."""
        epoch = self._epoch
        faults: list[Exception] = []
        try:
            lease = self._made(side, key, fetch(partial(self._observe, faults)))
        except Exception as error:
            with self._lock:
                self._failed(side, key, error, faults)
            self._landed(side, key, flight, error)
            raise
        with self._lock:
            if size is None:
                self._stats.refreshes += 1
                self._events.note("refreshed", side=side.name, key_ids=lease.key_ids())
            else:
                self._take(lease, size, 0.0)
            if epoch == self._epoch and not self._closed:
                side.shelf.put(lease)
            else:  # forgotten or closed meanwhile: for this one message only
                lease.retire()
        self._landed(side, key, flight)
        self._housekeeper.watch()
        return lease

    def _landed(
        self, side: Side, key: Hashable, flight: Future[None], error: Exception | None = None
    ) -> None:
        """The call has ended: whoever waits for it goes on, with its DEK or its error."""
        with self._lock:
            if side.flights.get(key) is flight:
                del side.flights[key]
        if error is None:
            flight.set_result(None)
        else:
            flight.set_exception(error)

    def _one_off(self, side: Side, key: Hashable, size: int, fetch: Fetch) -> Lease:
        with self._lock:
            if self._closed:
                raise ValueError("the client is closed")
        lease = self._made(side, key, fetch(partial(self._observe, [])))
        with self._lock:
            self._take(lease, size, 0.0)
            lease.retire()
        return lease

    def _made(self, side: Side, key: Hashable, made: tuple[bytearray, Header, str | None]) -> Lease:
        """A lease with its windows, which start now."""
        dek, header, opener = made
        secret = Secret.take(dek)
        try:
            encoded = b"" if key is header else key if isinstance(key, bytes) else header.encode()
        except ValueError:  # recipients that do not fit into a header
            secret.wipe()
            raise
        lease = Lease(self._lock, key, secret, header, encoded)
        lease.opener = opener
        side.open_windows(lease, self._clock(), self._rand())
        return lease

    def _failed(self, side: Side, key: Hashable, error: Exception, faults: list[Exception]) -> None:
        """Note on the DEK in use that no next one came, and when to try again."""
        lease = side.shelf.get(key)
        if lease is None:
            return
        transient = bool(faults) and all(isinstance(fault, _TRANSIENT) for fault in faults)
        pause = min(RETRY_SECONDS * 2**lease.failures, side.max_age / 8)
        lease.failures = min(lease.failures + 1, 4)
        lease.retry_at = self._clock() + pause * (0.5 + self._rand() / 2)
        lease.down_until = lease.retry_at + pause if transient else 0.0
        self._stats.refresh_failures += 1
        self._events.note("refresh_failed", side=side.name, key_ids=lease.key_ids(), error=str(error))

    # What fetches, and what is told of it.

    def _generate(self, context_json: str | None, observe: Observer) -> tuple[bytearray, Header, None]:
        dek, recipients = self._keyset.generate(self._suite, context_json, observe)
        return dek, Header(self._suite, recipients, context_json), None

    def _unwrap(self, header: Header, observe: Observer) -> tuple[bytearray, Header, str]:
        dek, opener = self._keyset.unwrap(header, observe)
        return dek, header, opener.key_id

    def _observe(
        self, faults: list[Exception], action: str, key_id: str, error: Exception | None, seconds: float
    ) -> None:
        outcome = (
            "ok" if error is None else error.code if isinstance(error, KmsError) else type(error).__name__
        )
        with self._lock:
            self._stats.call(action, outcome, seconds)
            self._events.note("kms_call", action=action, key_id=key_id, outcome=outcome, seconds=seconds)
            if error is not None:
                faults.append(error)
            if isinstance(error, KeyUnavailable | KmsAccessDenied):
                self._refused(action, key_id, error)

    def _refused(self, action: str, key_id: str, error: KmsError) -> None:
        """Drop what a key gave that the KMS now refuses; a missing permission concerns one side only."""
        both = isinstance(error, KeyUnavailable)
        if both or action in WRITING_ACTIONS:
            self._writing.drop_where(lambda lease: lease.names(key_id), "refused")
        if both or action not in WRITING_ACTIONS:
            self._reading.drop_where(lambda lease: lease.opener == key_id, "refused")

    def _left(self, side: str, lease: Lease, cause: str) -> None:
        self._stats.evictions[cause] += 1
        self._events.note("evicted", side=side, cause=cause, key_ids=lease.key_ids())

    def _sweep(self) -> float | None:
        """Wipe what has expired. Returns the seconds to the next expiry; ``None``: nothing is held."""
        with self._lock:
            now = self._clock()
            following = [
                at for shelf in (self._writing, self._reading) if (at := shelf.sweep(now)) is not None
            ]
        self._events.tell()
        return max(min(following) - now, 0.001) if following else None

    def _after_fork(self) -> None:
        """In the child, with the lock held: the caller's thread is the only one, and it has no DEK."""
        self._empty("fork")
        self._events.clear()
        for side in (self._writers, self._readers):
            side.flights.clear()
        self._stats = CacheStats()
        self._housekeeper.reset()

    def _empty(self, cause: str) -> None:
        self._epoch += 1
        for shelf in (self._writing, self._reading):
            shelf.drop_where(lambda lease: True, cause)
