"""Faults on purpose: what a network, a gateway or a busy service does to a call."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal[
    "latency",
    "throttle",
    "error",
    "expired_credentials",
    "reset",
    "lost_answer",
    "truncate",
    "stall",
    "status",
    "content_type",
    "empty",
    "patch",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass
class Fault:
    """One rule; which of ``seconds`` to ``members`` matter depends on the kind (see ``Faults``).

    ``action`` limits it to one API action; ``times`` is how often it will still strike, ``None`` without end;
    ``probability`` is the chance of each call; ``hits`` counts.
    """

    kind: Kind
    action: str | None = None
    times: int | None = 1
    probability: float = 1.0
    seconds: float = 1.0
    status: int = 503
    code: str = "InternalError"
    message: str = "injected"
    content_type: str = "application/json; charset=utf-8"
    members: dict[str, Any] = field(default_factory=dict)
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}: choose one of {', '.join(KINDS)}")
        if not 0 <= self.probability <= 1:
            raise ValueError("probability must be from 0 to 1")


def patched(content: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """``content`` with the ``members`` of a fault of kind ``patch`` in their place."""
    merged = {**content, **fault.members}
    return {name: value for name, value in merged.items() if value is not None}


class Faults:
    """The faults to inject. Safe to change from any thread while calls come in.

    latency              wait ``seconds``, then go on as usual
    throttle             answer RequestLimitExceeded; the action is not performed
    error                answer ``code``; the action is not performed
    expired_credentials  answer AuthFailure.TokenFailure; the action is not performed
    reset                reset the connection before the action is performed
    lost_answer          perform the action, then reset the connection
    truncate             perform the action, send half of the answer, close the connection
    stall                perform the action, send half of the answer, then nothing for ``seconds``, then close
    status               answer HTTP ``status`` with a page of HTML; the action is not performed
    content_type         perform the action, answer with this Content-Type
    empty                perform the action, answer with an empty body
    patch                perform the action, replace ``members`` of the answer (``None`` removes one)
    """

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(
        self,
        kind: Kind,
        *,
        action: str | None = None,
        times: int | None = 1,
        probability: float = 1.0,
        **settings: Any,
    ) -> Fault:
        """Inject a fault from the next call on. The rule that is returned counts its hits.

        Raises ``ValueError`` for an unknown kind, ``TypeError`` for an unknown setting.
        """
        fault = Fault(kind, action=action, times=times, probability=probability, **settings)
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        """No more faults."""
        with self._lock:
            self._rules.clear()

    def strike(self, action: str) -> list[Fault]:
        """The faults of this call: every latency, and the first of the other rules that hits."""
        struck: list[Fault] = []
        with self._lock:
            for rule in self._rules:
                if rule.kind != "latency" and any(each.kind != "latency" for each in struck):
                    continue
                if self._hits(rule, action):
                    struck.append(rule)
        return struck

    def _hits(self, rule: Fault, action: str) -> bool:
        if rule.action not in (None, action) or rule.times == 0:
            return False
        if rule.probability < 1 and self._random.random() >= rule.probability:
            return False
        rule.hits += 1
        if rule.times is not None:
            rule.times -= 1
        return True
