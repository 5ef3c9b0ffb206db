"""For tests of applications: a KMS in the process that fails on demand, and a client of the emulator.

``FakeKms`` needs no socket and no extra; ``Emulator`` (extra ``emulator``) is the way with the real SDK and a
real connection. The fixtures of the pytest plugin are made of these.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from .emulator.clock import MovableClock
from .emulator.engine import Engine, EngineError
from .emulator.faults import Fault, Faults, patched
from .emulator.journal import CallRecord, Journal
from .emulator.policy import DEFAULT_POLICY, Policy
from .emulator.store import Store
from .kms.retry import Retry
from .kms.service import Kms
from .kms.tencent import TencentKms
from .kms.transport import ServiceError

if TYPE_CHECKING:
    from .emulator.server import Emulator

__all__ = ["FakeKms", "Faults", "MovableClock", "Policy", "connect"]

_NOT_PERFORMED = {
    "throttle": ("RequestLimitExceeded", "the rate is over the limit"),
    "expired_credentials": ("AuthFailure.TokenFailure", "the temporary credential has expired"),
    "reset": ("ClientNetworkError", "the connection was reset"),
    "status": ("ServerNetworkError", "an HTTP status other than 200"),
}
_ANSWER_LOST = {
    "lost_answer": ("ClientNetworkError", "the connection was reset"),
    "truncate": ("ChunkedEncodingError", "the answer broke off on the way"),
    "stall": ("ConnectionError", "the answer broke off on the way"),
    "empty": ("JSONDecodeError", "the answer is not JSON, or not all of it"),
}


def connect(emulator: Emulator, **options: Any) -> TencentKms:
    """A ``TencentKms`` with the emulator's endpoint and credentials; ``options`` as of ``TencentKms``."""
    settings: dict[str, Any] = {
        "secret_id": emulator.secret_id,
        "secret_key": emulator.secret_key,
        "endpoint": emulator.endpoint,
        "retry": Retry(wall=emulator.clock),
    }
    return TencentKms(options.pop("region", emulator.region), **(settings | options))


class FakeKms(Kms):
    """A KMS in memory that an ``EnvelopeClient`` takes for Tencent's, for unit tests without a socket.

    Attributes: ``engine``, ``clock`` (moves the KMS's time), ``faults`` and ``calls``, as of ``Emulator``.
    Faults of the network become the errors that the SDK would make of them (``content_type`` does nothing
    here). Waits between repeated calls take no time. It cannot be pickled.
    """

    def __init__(
        self,
        region: str = "ap-guangzhou",
        *,
        policy: Policy = DEFAULT_POLICY,
        retry: Retry | None = None,
        protect_in_transit: bool = False,
    ) -> None:
        self.clock = MovableClock()
        self.faults = Faults()
        self.calls = Journal()
        self._store = Store()
        self.engine = Engine(self._store, clock=self.clock, region=region, policy=policy)
        transport = _FakeTransport(self.engine, self.faults, self.calls)
        retry = retry or _no_wait(self.clock)
        super().__init__(transport, retry=retry, protect_in_transit=protect_in_transit)

    def __getstate__(self) -> NoReturn:
        raise TypeError("a FakeKms lives in one process and cannot be pickled: use the emulator")


class _FakeTransport:
    name = "tencent"

    def __init__(self, engine: Engine, faults: Faults, journal: Journal) -> None:
        self.region: str | None = engine.region
        self._engine = engine
        self._faults = faults
        self._journal = journal

    def call(self, action: str, params: Mapping[str, object]) -> dict[str, Any]:
        """Perform the action, with whatever fault strikes. Raises ``ServiceError``."""
        struck = self._faults.strike(action)
        for delay in struck:
            if delay.kind == "latency":
                time.sleep(delay.seconds)
        fault = next((each for each in struck if each.kind != "latency"), None)
        key_id = params.get("KeyId")
        outcome = "ok"
        try:
            content = self._perform(action, params, fault)
            key_id = content.get("KeyId", key_id)
            return content
        except ServiceError as error:
            outcome = error.code
            raise
        finally:
            known = key_id if isinstance(key_id, str) else None
            now = self._engine.clock()
            request_id = str(uuid.uuid4())
            self._journal.add(CallRecord(now, request_id, "fake", self.region, action, known, outcome))

    def _perform(self, action: str, params: Mapping[str, object], fault: Fault | None) -> dict[str, Any]:
        if fault is not None and fault.kind == "error":
            raise ServiceError(fault.code, fault.message)
        if fault is not None and fault.kind in _NOT_PERFORMED:
            raise ServiceError(*_NOT_PERFORMED[fault.kind])
        try:
            content = self._engine.call(action, params)
        except EngineError as error:
            raise ServiceError(error.code, error.message) from None
        if fault is not None and fault.kind in _ANSWER_LOST:
            raise ServiceError(*_ANSWER_LOST[fault.kind])
        if fault is not None and fault.kind == "patch":
            return patched(content, fault)
        return content

    def close(self) -> None:
        """Forget the keys."""
        self._engine.store.close()


def _no_wait(clock: MovableClock) -> Retry:
    """The default back-off on a clock that only its own waits move."""
    elapsed = 0.0

    def sleep(seconds: float) -> None:
        nonlocal elapsed
        elapsed += seconds

    return Retry(sleep=sleep, clock=lambda: elapsed, wall=clock)
