"""Repeating calls: which, how often, how long, and what is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmsenvelope.errors import KmsError
from kmsenvelope.kms.retry import Retry


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def failing(times: int, *, retryable: bool = True) -> tuple[list[int], object]:
    calls: list[int] = []

    def attempt() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise KmsError(f"failure {len(calls)}", code="X", action="A", retryable=retryable)
        return "done"

    return calls, attempt


def retry(time: Time, fraction: float = 1.0, **options: float) -> Retry:
    return Retry(sleep=time.sleep, clock=time.clock, random=lambda: fraction, **options)  # type: ignore[arg-type]


def test_waits_double_from_100_ms_up_to_the_longest() -> None:
    time = Time()
    _, attempt = failing(8)
    assert retry(time).run(attempt) == "done"  # type: ignore[arg-type]
    assert time.slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


def test_the_wait_is_a_random_part_of_its_maximum() -> None:
    time = Time()
    _, attempt = failing(3)
    retry(time, 0.5).run(attempt)  # type: ignore[arg-type]
    assert time.slept == pytest.approx([0.05, 0.1, 0.2])


def test_success_at_first_neither_waits_nor_repeats() -> None:
    time = Time()
    calls, attempt = failing(0)
    assert retry(time).run(attempt) == "done"  # type: ignore[arg-type]
    assert (len(calls), time.slept) == (1, [])


def test_what_is_not_retryable_is_raised_at_once() -> None:
    time = Time()
    calls, attempt = failing(5, retryable=False)
    with pytest.raises(KmsError, match="failure 1"):
        retry(time).run(attempt)  # type: ignore[arg-type]
    assert (len(calls), time.slept) == (1, [])


def test_other_exceptions_pass_through_at_once() -> None:
    def attempt() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        retry(Time()).run(attempt)


@pytest.mark.parametrize(("deadline", "calls_made"), [(0.0, 1), (0.1, 2), (0.3, 3), (1.0, 5), (60.0, 18)])
def test_the_last_error_comes_when_the_deadline_has_passed(deadline: float, calls_made: int) -> None:
    time = Time()
    calls, attempt = failing(1000)
    with pytest.raises(KmsError, match=f"failure {calls_made} "):
        retry(time, deadline=deadline).run(attempt)  # type: ignore[arg-type]
    assert len(calls) == calls_made
    assert sum(time.slept) == pytest.approx(deadline)


@given(st.floats(0, 0.999), st.floats(0, 100), st.integers(0, 40))
def test_waiting_never_exceeds_the_deadline(fraction: float, deadline: float, failures: int) -> None:
    time = Time()
    _, attempt = failing(failures)
    policy = retry(time, fraction, deadline=deadline)
    try:
        policy.run(attempt)  # type: ignore[arg-type]
    except KmsError:
        assert fraction == 0 or time.now >= 1000.0 + deadline
    assert sum(time.slept) <= deadline + 1e-6
    assert all(0 <= wait <= 5.0 for wait in time.slept)


def test_a_slow_attempt_uses_up_the_deadline_too() -> None:
    time = Time()
    calls = []

    def attempt() -> None:
        calls.append(1)
        time.now += 31
        raise KmsError("slow", code="X", action="A", retryable=True)

    with pytest.raises(KmsError):
        retry(time).run(attempt)
    assert len(calls) == 1


@pytest.mark.parametrize("options", [{"deadline": -1}, {"first_wait": 0}, {"max_wait": 0}])
def test_senseless_settings_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Retry(**options)  # type: ignore[arg-type]


def test_the_default_random_part_is_between_0_and_1() -> None:
    parts = [Retry().random() for _ in range(100)]
    assert all(0 <= part < 1 for part in parts)
    assert len(set(parts)) > 90
