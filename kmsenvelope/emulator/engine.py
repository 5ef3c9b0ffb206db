"""The service's semantics without HTTP: actions in, answers or the service's error codes out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from . import errors as e
from .actions import ACTIONS
from .call import Call
from .elapse import elapse
from .errors import EngineError
from .fields import check_fields
from .policy import DEFAULT_POLICY, Policy
from .store import Store, StoreError, Transaction

__all__ = ["Engine", "EngineError", "Policy"]


class Engine:
    """The KMS of one region over a store.

    ``clock`` gives unix seconds; everything that depends on time (deletion, expiry, rotation, tokens) follows
    it. ``random(n)`` gives n random bytes. Engines of several regions, threads and processes may share a
    store: each sees the CMKs of its own ``region`` only.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        region: str = "local",
        policy: Policy = DEFAULT_POLICY,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.store = store
        self.clock = clock
        self.region = region
        self.policy = policy
        self._random = random

    def in_region(self, region: str) -> Engine:
        """The same account in another region: the same store, clock and policy, other CMKs."""
        return Engine(self.store, clock=self.clock, region=region, policy=self.policy, random=self._random)

    def call(self, action: str, params: Mapping[str, object]) -> dict[str, Any]:
        """Perform an API action; the answer is the content of ``Response`` without ``RequestId``.

        Raises ``EngineError`` with the service's code: InvalidAction, UnknownParameter, MissingParameter,
        InvalidParameter, or one of the action's own. An action that fails changes nothing.
        """
        spec = ACTIONS.get(action)
        if spec is None:
            raise EngineError(e.INVALID_ACTION, f"there is no action {action!r}")
        checked = check_fields(spec.fields, params)
        writes = bool(checked[spec.writes]) if isinstance(spec.writes, str) else spec.writes
        now = int(self.clock())
        try:
            self._elapse(now)
            with self.store.transaction(write=writes) as tx:
                return spec.handler(self._surroundings(tx, now), checked)
        except StoreError as error:
            raise EngineError("InternalError", str(error)) from error

    def _elapse(self, now: int) -> None:
        with self.store.transaction(write=False) as tx:
            if not tx.any_due(now):
                return
        with self.store.transaction(write=True) as tx:
            elapse(self._surroundings(tx, now))

    def _surroundings(self, tx: Transaction, now: int) -> Call:
        return Call(tx, now, self.region, self.policy, self._random)
