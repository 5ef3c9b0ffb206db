"""CachePolicy: its defaults, its limits, its refusals."""

from __future__ import annotations

import math
import pickle

import pytest

from kmsenvelope.datakeys import CachePolicy


def test_the_defaults_are_those_that_the_documentation_reasons():
    assert CachePolicy() == CachePolicy(
        max_age=300,
        max_messages=2**32,
        max_bytes=2**40,
        capacity=1000,
        refresh_ahead=0.5,
        stale_if_unavailable=0,
        decrypt_max_age=300,
    )


def test_disabled_reuses_and_keeps_nothing():
    off = CachePolicy.disabled()
    assert (off.max_age, off.max_messages, off.decrypt_max_age) == (0, 1, 0)


@pytest.mark.parametrize("name", ["max_age", "stale_if_unavailable", "decrypt_max_age"])
@pytest.mark.parametrize("value", [-0.001, math.inf, math.nan])
def test_times_are_finite_and_not_negative(name, value):
    with pytest.raises(ValueError, match=name):
        CachePolicy(**{name: value})


@pytest.mark.parametrize("name", ["max_messages", "max_bytes", "capacity"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_are_at_least_one(name, value):
    with pytest.raises(ValueError, match=name):
        CachePolicy(**{name: value})


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.1, math.nan])
def test_refresh_ahead_is_a_share_of_the_window(value):
    with pytest.raises(ValueError, match="refresh_ahead"):
        CachePolicy(refresh_ahead=value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_age": "300"},
        {"max_age": None},
        {"max_messages": 1.5},
        {"max_bytes": True},
        {"capacity": "1"},
        {"refresh_ahead": "half"},
    ],
)
def test_wrong_types_are_refused_by_name(wrong):
    with pytest.raises(TypeError, match=next(iter(wrong))):
        CachePolicy(**wrong)


def test_a_policy_is_a_value():
    policy = CachePolicy(max_age=60)
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert hash(policy) == hash(CachePolicy(60))
    with pytest.raises(AttributeError):
        policy.max_age = 1
