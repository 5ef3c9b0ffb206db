"""What the tests of the data-key cache put in place of the KMS, the clock and the background."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kmsenvelope.datakeys import CachePolicy, DataKeys
from kmsenvelope.errors import (
    KeyUnavailable,
    KmsAccessDenied,
    KmsError,
    KmsThrottled,
    KmsUnavailable,
    NoUsableKey,
)
from kmsenvelope.header import Header, Recipient
from kmsenvelope.suites import Suite

SUITE = Suite.AES_256_GCM
WIPED = bytes(SUITE.key_size)

FAULTS: dict[str, type[KmsError]] = {
    "unavailable": KmsUnavailable,
    "throttled": KmsThrottled,
    "denied": KmsAccessDenied,
    "disabled": KeyUnavailable,
    "refused": KmsError,
}


def fault(kind: str, action: str = "GenerateDataKey") -> KmsError:
    return FAULTS[kind](f"the test says {kind}", code=f"Test.{kind}", action=action)


class Clock:
    """Time that moves when the test says."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class ManualHousekeeper:
    """The background, run by hand."""

    def __init__(self, sweep: Callable[[], float | None]) -> None:
        self.sweep = sweep
        self.jobs: list[Callable[[], None]] = []
        self.stopped = False

    def reset(self) -> None:
        self.jobs.clear()

    def watch(self) -> None:
        pass

    def soon(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def stop(self) -> None:
        self.stopped = True

    def run(self) -> int:
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()
        return len(jobs)


class FakeKeys:
    """A key set in memory that counts calls and fails, or waits, on demand.

    ``fault``: the kind of every failure until it is None again. ``gate(key)`` is called inside each call.
    """

    def __init__(self, *key_ids: str) -> None:
        self.key_ids = key_ids or ("key-1",)
        self.fault: str | None = None
        self.gate: Callable[[object], None] = lambda key: None
        self.calls: Counter[str] = Counter()
        self.made: dict[bytes, str | None] = {}  # every DEK ever made and its context
        self.handed: list[bytearray] = []  # the very buffers that went to the cache
        self.most_in_flight: Counter[object] = Counter()
        self._wrapped: dict[str, tuple[bytes, str | None]] = {}
        self._in_flight: Counter[object] = Counter()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def in_flight(self, key: object) -> int:
        return self._in_flight[key]

    def generate(self, suite, context_json, observe):
        with self._call("GenerateDataKey", context_json, observe):
            with self._lock:
                number = next(self._numbers)
            dek = number.to_bytes(4, "big") * (suite.key_size // 4)
            wrapped = f"wrapped-{number}"
            self.made[dek] = context_json
            self._wrapped[wrapped] = (dek, context_json)
            return self._hand(dek), tuple(Recipient("fake", key_id, wrapped) for key_id in self.key_ids)

    def unwrap(self, header, observe):
        recipient = header.recipients[0]
        try:
            with self._call("Decrypt", header.encode(), observe):
                dek, context_json = self._wrapped.get(recipient.wrapped, (b"", None))
                if not dek or context_json != header.context_json:
                    raise KmsError("wrong", code="InvalidCiphertext", action="Decrypt")
                return self._hand(dek), recipient
        except KmsError as error:
            raise NoUsableKey("no key opens", [(str(recipient), str(error))]) from None

    def _hand(self, dek: bytes) -> bytearray:
        buffer = bytearray(dek)
        self.handed.append(buffer)
        return buffer

    @contextmanager
    def _call(self, action: str, key: object, observe) -> Iterator[None]:
        with self._lock:
            self.calls[action] += 1
            self._in_flight[key] += 1
            self.most_in_flight[key] = max(self.most_in_flight[key], self._in_flight[key])
        error: Exception | None = None
        try:
            self.gate(key)
            if self.fault is not None:
                raise fault(self.fault, action)
            yield
        except Exception as caught:
            error = caught
            raise
        finally:
            with self._lock:
                self._in_flight[key] -= 1
            observe(action, self.key_ids[0], error, 0.05)


class Cache:
    """A ``DataKeys`` with everything around it under control."""

    def __init__(
        self, policy: CachePolicy | None = None, *, jitter: float = 0.0, keys: FakeKeys | None = None
    ) -> None:
        self.keys = keys or FakeKeys()
        self.clock = Clock()
        self.events = []
        self.jitter = jitter
        self.datakeys = DataKeys(
            self.keys,
            SUITE,
            policy,
            clock=self.clock,
            rand=lambda: self.jitter,
            on_event=self.events.append,
            housekeeper=ManualHousekeeper,
        )
        self.background: ManualHousekeeper = self.datakeys._housekeeper

    def write(self, context_json: str | None = None, size: int | None = None) -> bytes:
        """One message; returns the DEK that it got."""
        with self.datakeys.for_writing(context_json, size) as lease:
            assert lease.header == lease.header_value.encode()
            return bytes(lease.dek)

    def read(self, header: Header) -> bytes:
        with self.datakeys.known(header.encode()) or self.datakeys.for_reading(header) as lease:
            return bytes(lease.dek)

    def header(self, context_json: str | None = None) -> Header:
        """The header of a new envelope, under a DEK of its own."""
        _, recipients = self.keys.generate(SUITE, context_json, lambda *_: None)
        self.keys.calls.clear()
        return Header(SUITE, recipients, context_json)

    def stat(self, name: str) -> object:
        return self.datakeys.stats()[name]
