"""Repeating calls that failed for a passing reason: exponential back-off, full jitter, a total deadline."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import KmsError

T = TypeVar("T")

_STEPS = 1 << 30


def _fraction() -> float:
    return secrets.randbelow(_STEPS) / _STEPS


@dataclass(frozen=True)
class Retry:
    """How long and how often a call is repeated. Times are in seconds.

    Before repetition n (from 0) the wait is a random part of ``first_wait * 2**n``, at most ``max_wait``.
    Once ``deadline`` has passed since the first attempt began, the last error is raised; ``deadline=0`` never
    repeats. An attempt under way is not cut short: its own timeouts end it. ``sleep``, ``clock``, ``wall``
    (seconds since 1970) and ``random`` (a number from 0 up to 1) stand in for time and chance in tests.

    Source: KMS best practice "exponential back-off" (100 ms, doubling); the jitter is ours.
    """

    deadline: float = 30.0
    first_wait: float = 0.1
    max_wait: float = 5.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    wall: Callable[[], float] = field(default=time.time, repr=False)
    random: Callable[[], float] = field(default=_fraction, repr=False)

    def __post_init__(self) -> None:
        if self.deadline < 0 or self.first_wait <= 0 or self.max_wait <= 0:
            raise ValueError("deadline must be 0 or more, first_wait and max_wait above 0 seconds")

    def run(
        self,
        attempt: Callable[[], T],
        *,
        may_repeat: Callable[[KmsError], bool] = lambda error: error.retryable,
        on_repeat: Callable[[], None] = lambda: None,
    ) -> T:
        """What ``attempt()`` returns, repeated while it raises a ``KmsError`` that ``may_repeat`` accepts.

        ``on_repeat`` is called before each wait. The last error is raised as it is.
        """
        from tenacity import Retrying, retry_if_exception

        end = self.clock() + self.deadline
        loop = Retrying(
            sleep=self.sleep,
            wait=lambda state: min(self._jittered(state.attempt_number - 1), max(0.0, end - self.clock())),
            stop=lambda _: self.clock() >= end,
            retry=retry_if_exception(lambda error: isinstance(error, KmsError) and may_repeat(error)),
            before_sleep=lambda _: on_repeat(),
            reraise=True,
        )
        try:
            return loop(attempt)
        except KmsError as error:
            raise error.with_traceback(None) from None  # without the frames of the loop

    def _jittered(self, repetition: int) -> float:
        return self.random() * min(self.max_wait, self.first_wait * 2.0 ** min(repetition, 32))
