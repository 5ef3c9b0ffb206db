"""The windows of the data-key cache, at their edges, on a clock that the test moves."""

from __future__ import annotations

from itertools import pairwise

import pytest
from cachekit import SUITE, Cache, FakeKeys, fault
from hypothesis import given
from hypothesis import strategies as st

from kmsenvelope.datakeys import CachePolicy
from kmsenvelope.errors import (
    KeyUnavailable,
    KmsAccessDenied,
    KmsError,
    KmsThrottled,
    KmsUnavailable,
    NoUsableKey,
)
from kmsenvelope.header import MAX_JSON, Header, Recipient
from kmsenvelope.suites import Suite


def policy(**kwargs) -> CachePolicy:
    return CachePolicy(**{"max_age": 100, "decrypt_max_age": 100, "refresh_ahead": None, **kwargs})


# Encrypt side


def test_messages_within_the_windows_share_one_dek_and_one_call():
    cache = Cache(policy())
    assert len({cache.write() for _ in range(100)}) == 1
    assert cache.keys.calls == {"GenerateDataKey": 1}
    assert (cache.stat("hits"), cache.stat("misses"), cache.stat("waits")) == (99, 1, 0)


@pytest.mark.parametrize(
    ("age", "same"), [(0, True), (99.999, True), (100, False), (100.001, False), (1e6, False)]
)
def test_the_age_window_closes_exactly_at_max_age(age, same):
    cache = Cache(policy())
    first = cache.write()
    cache.clock.advance(age)
    assert (cache.write() == first) is same


@pytest.mark.parametrize("limit", [2, 3, 10])
def test_a_dek_serves_exactly_max_messages(limit):
    cache = Cache(policy(max_messages=limit))
    deks = [cache.write() for _ in range(3 * limit)]
    assert [deks.count(dek) for dek in dict.fromkeys(deks)] == [limit] * 3
    assert cache.stat("evictions") == {"messages": 2}


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [
        ([50, 50], 1),
        ([50, 51], 2),
        ([100, 0], 2),
        ([100], 1),
        ([99, 1, 1], 2),
        ([101, 1], 2),
        ([1, 101, 1], 3),
        ([0, 0, 100], 1),
    ],
)
def test_known_sizes_never_exceed_max_bytes_unless_one_message_does(sizes, calls):
    cache = Cache(policy(max_bytes=100))
    for size in sizes:
        cache.write(size=size)
    assert cache.keys.calls["GenerateDataKey"] == calls


def test_a_stream_of_unknown_length_uses_the_cache_and_is_charged_as_it_flows():
    cache = Cache(policy(max_bytes=100))
    stream = cache.datakeys.for_writing(None)
    with stream:
        first = bytes(stream.dek)
    assert cache.write() == first
    stream.charge(99)
    assert cache.write() == first
    stream.charge(1)
    assert cache.write() != first
    stream.charge(1 << 60)  # the message in flight goes on, whatever became of its DEK
    assert cache.keys.calls["GenerateDataKey"] == 2


def test_each_encryption_context_has_its_own_dek():
    cache = Cache(policy())
    contexts = [None, '{"t":"1"}', '{"t":"2"}']
    assert len({cache.write(context) for context in contexts * 3}) == 3
    assert cache.keys.calls["GenerateDataKey"] == 3


def test_the_least_recently_used_dek_leaves_when_the_cache_is_full():
    cache = Cache(policy(capacity=2))
    a, b = cache.write("a"), cache.write("b")
    assert cache.write("a") == a
    cache.write("c")
    assert cache.write("a") == a
    assert cache.write("b") != b
    assert cache.stat("evictions") == {"capacity": 2}
    assert cache.stat("held") == {"encrypt": 2, "decrypt": 0}


@pytest.mark.parametrize("off", [CachePolicy.disabled(), policy(max_messages=1), policy(max_age=0)])
def test_without_reuse_every_message_has_its_own_dek(off):
    cache = Cache(off)
    assert len({cache.write() for _ in range(5)}) == 5
    assert cache.stat("misses") == 5
    assert cache.stat("held") == {"encrypt": 0, "decrypt": 0}


# Refresh ahead


def ahead(**kwargs) -> CachePolicy:
    return policy(refresh_ahead=0.6, **kwargs)


def test_one_background_call_fetches_the_next_dek_while_callers_go_on():
    cache = Cache(ahead())
    first = cache.write()
    cache.clock.advance(59.999)
    assert cache.write() == first
    assert cache.background.jobs == []
    cache.clock.advance(0.001)
    assert {cache.write() for _ in range(10)} == {first}
    assert cache.background.run() == 1
    assert cache.write() != first
    assert cache.keys.calls["GenerateDataKey"] == 2
    assert (cache.stat("misses"), cache.stat("refreshes"), cache.stat("evictions")) == (1, 1, {"renewed": 1})


@given(jitter=st.floats(0, 1, exclude_max=True))
def test_the_renewal_is_drawn_from_the_first_half_of_what_is_left(jitter):
    cache = Cache(ahead(), jitter=jitter)
    cache.write()
    cache.clock.advance(59.999)
    cache.write()
    assert not cache.background.jobs
    cache.clock.advance(20.1)
    cache.write()
    assert len(cache.background.jobs) == 1


@pytest.mark.parametrize("limits", [{"max_messages": 10}, {"max_bytes": 10}])
def test_a_share_of_the_messages_or_bytes_starts_the_renewal_too(limits):
    cache = Cache(ahead(**limits))
    first = [cache.write(size=1) for _ in range(6)]
    assert not cache.background.jobs
    assert cache.write(size=1) == first[0]
    assert cache.background.run() == 1
    assert cache.write(size=1) != first[0]


@pytest.mark.parametrize(
    ("limits", "advance"), [({"max_messages": 10}, 0), ({"max_bytes": 10}, 0), ({}, 100)]
)
def test_hard_limits_stay_hard_when_the_background_is_late(limits, advance):
    cache = Cache(ahead(**limits))
    first = {cache.write(size=1) for _ in range(10)}
    cache.clock.advance(advance)
    assert len(first) == 1
    assert cache.write(size=1) not in first
    assert cache.stat("misses") == 2
    cache.background.run()  # the late renewal finds that it is not needed
    assert cache.keys.calls["GenerateDataKey"] == 2


def test_a_failed_renewal_is_tried_again_after_a_pause_and_nobody_notices():
    cache = Cache(ahead())
    first = cache.write()
    cache.clock.advance(60)
    cache.keys.fault = "unavailable"
    assert cache.write() == first
    cache.background.run()
    assert cache.write() == first
    assert not cache.background.jobs  # not at once
    cache.clock.advance(5)
    assert cache.write() == first
    cache.keys.fault = None
    assert cache.background.run() == 1
    assert cache.write() != first
    assert (cache.stat("refresh_failures"), cache.stat("refreshes"), cache.stat("misses")) == (1, 1, 1)


def test_a_renewal_that_is_told_to_stop_leaves_nobody_waiting():
    cache = Cache(ahead())
    first = cache.write()
    cache.clock.advance(60)
    cache.write()

    def stop(key: object) -> None:
        raise SystemExit

    cache.keys.gate = stop
    with pytest.raises(SystemExit):
        cache.background.run()
    cache.keys.gate = lambda key: None
    cache.clock.advance(40)
    assert cache.write() != first


def test_pauses_between_failed_renewals_grow():
    cache = Cache(CachePolicy(max_age=1000, refresh_ahead=0.1, decrypt_max_age=0))
    cache.write()
    cache.clock.advance(100)
    cache.keys.fault = "throttled"
    tries = []
    for _ in range(850):
        cache.clock.advance(1)
        cache.write()
        if cache.background.run():
            tries.append(cache.clock.now)
    gaps = [later - sooner for sooner, later in pairwise(tries)]
    assert gaps[:3] == [3, 5, 10]
    assert max(gaps) <= 63


# Stale if unavailable


def stale(**kwargs) -> CachePolicy:
    return policy(stale_if_unavailable=50, **kwargs)


@pytest.mark.parametrize("kind", ["unavailable", "throttled"])
def test_stale_is_off_by_default(kind):
    cache = Cache(policy())
    cache.write()
    cache.clock.advance(100)
    cache.keys.fault = kind
    with pytest.raises((KmsUnavailable, KmsThrottled)):
        cache.write()


@pytest.mark.parametrize("kind", ["unavailable", "throttled"])
def test_an_unavailable_kms_lets_a_dek_serve_past_its_age_for_the_time_set(kind, caplog):
    cache = Cache(stale())
    first = cache.write()
    cache.keys.fault = kind
    cache.clock.advance(100)
    assert {cache.write() for _ in range(20)} == {first}
    cache.clock.advance(49.999)
    assert cache.write() == first
    cache.clock.advance(0.001)
    with pytest.raises((KmsUnavailable, KmsThrottled)):
        cache.write()
    assert cache.stat("stale") == 21
    assert [record.message.split(":")[0] for record in caplog.records if "stale" in record.message] == [
        "stale"
    ]


def test_callers_do_not_wait_again_and_again_for_a_kms_that_is_down():
    cache = Cache(stale())
    cache.write()
    cache.keys.fault = "unavailable"
    cache.clock.advance(100)
    for _ in range(100):
        cache.write()
    assert (
        cache.keys.calls["GenerateDataKey"] == 2
    )  # the one that found out; later ones run in the background


def test_the_first_answer_ends_the_stale_time():
    cache = Cache(stale())
    first = cache.write()
    cache.keys.fault = "unavailable"
    cache.clock.advance(100)
    assert cache.write() == first
    cache.keys.fault = None
    cache.clock.advance(5)
    assert cache.write() == first  # this one sends the background to ask
    assert cache.background.run() == 1
    assert cache.write() != first


def test_an_old_failure_is_no_reason_to_use_a_stale_dek():
    cache = Cache(stale(refresh_ahead=0.1))
    first = cache.write()
    cache.clock.advance(10)
    cache.keys.fault = "unavailable"
    cache.write()
    cache.background.run()
    cache.keys.fault = None
    cache.clock.advance(90)
    assert cache.write() != first


@pytest.mark.parametrize("limit", [{"max_messages": 3}, {"max_bytes": 3}])
def test_stale_relaxes_the_age_only(limit):
    cache = Cache(stale(**limit))
    cache.write(size=1)
    cache.keys.fault = "unavailable"
    cache.clock.advance(100)
    cache.write(size=1)
    cache.write(size=1)
    with pytest.raises(KmsUnavailable):
        cache.write(size=1)


@pytest.mark.parametrize(("kind", "error"), [("denied", KmsAccessDenied), ("disabled", KeyUnavailable)])
def test_a_refusal_is_never_a_reason_for_a_stale_dek(kind, error):
    cache = Cache(stale())
    cache.write()
    cache.keys.fault = kind
    cache.clock.advance(100)
    with pytest.raises(error):
        cache.write()
    assert cache.stat("evictions") == {"refused": 1}
    cache.keys.fault = "unavailable"
    with pytest.raises(KmsUnavailable):
        cache.write()


def test_an_error_that_is_not_transient_is_no_reason_for_a_stale_dek_either():
    cache = Cache(stale())
    cache.write()
    cache.keys.fault = "refused"
    cache.clock.advance(100)
    for _ in range(2):
        with pytest.raises(KmsError):
            cache.write()
    assert cache.stat("stale") == 0


# Refusals and forget


@pytest.mark.parametrize(("kind", "error"), [("denied", KmsAccessDenied), ("disabled", KeyUnavailable)])
def test_what_a_refused_key_gave_is_dropped_at_once(kind, error):
    cache = Cache(policy())
    cache.write("a")
    cache.keys.fault = kind
    with pytest.raises(error):
        cache.write("b")
    with pytest.raises(error):
        cache.write("a")
    assert cache.stat("held") == {"encrypt": 0, "decrypt": 0}


def test_a_disabled_key_loses_both_sides_and_a_missing_permission_one():
    cache = Cache(policy())
    header, other = cache.header("a"), cache.header("b")
    cache.write("w")
    cache.read(header)
    cache.keys.fault = "denied"
    with pytest.raises(NoUsableKey):
        cache.read(other)
    assert cache.stat("held") == {"encrypt": 1, "decrypt": 0}
    cache.keys.fault = None
    cache.read(header)
    cache.keys.fault = "disabled"
    with pytest.raises(NoUsableKey):
        cache.read(other)
    assert cache.stat("held") == {"encrypt": 0, "decrypt": 0}


def test_a_refused_background_renewal_drops_the_dek():
    cache = Cache(ahead())
    cache.write()
    cache.clock.advance(60)
    cache.keys.fault = "disabled"
    cache.write()
    cache.background.run()
    with pytest.raises(KeyUnavailable):
        cache.write()


def test_forget_drops_what_names_the_key_and_nothing_else():
    cache = Cache(policy())
    first = cache.write()
    cache.datakeys.forget("another key")
    assert cache.write() == first
    cache.datakeys.forget("key-1")
    assert cache.write() != first
    assert cache.stat("evictions") == {"forgotten": 1}


def test_a_call_under_way_at_forget_serves_its_caller_and_is_not_kept():
    cache = Cache(policy())
    cache.keys.gate = lambda key: cache.datakeys.forget("key-1")
    first = cache.write()
    cache.keys.gate = lambda key: None
    assert cache.write() != first


# Decrypt side


def test_ten_thousand_envelopes_under_one_dek_cost_one_decrypt():
    cache = Cache(policy())
    header = cache.header("a")
    assert len({cache.read(header) for _ in range(10_000)}) == 1
    assert cache.keys.calls == {"Decrypt": 1}


@pytest.mark.parametrize(("age", "calls"), [(99.999, 1), (100, 2)])
def test_an_unwrapped_dek_is_kept_exactly_decrypt_max_age(age, calls):
    cache = Cache(policy(max_age=1))
    header = cache.header()
    cache.read(header)
    cache.clock.advance(age)
    cache.read(header)
    assert cache.keys.calls["Decrypt"] == calls


def test_decrypt_max_age_zero_keeps_nothing():
    cache = Cache(policy(decrypt_max_age=0))
    header = cache.header()
    cache.read(header)
    cache.read(header)
    assert cache.keys.calls["Decrypt"] == 2
    assert cache.stat("held") == {"encrypt": 0, "decrypt": 0}


def test_the_write_side_does_not_open_the_read_side():
    cache = Cache(policy())
    with cache.datakeys.for_writing(None) as lease:
        header = lease.header_value
    assert cache.datakeys.known(header.encode()) is None
    cache.read(header)
    assert cache.keys.calls == {"GenerateDataKey": 1, "Decrypt": 1}


def test_the_same_header_in_another_spelling_costs_no_second_call():
    cache = Cache(policy())
    header = cache.header("a")
    cache.read(header)
    assert cache.datakeys.known(header.encode(room=40)) is None
    with cache.datakeys.for_reading(header):
        pass
    assert cache.keys.calls == {"Decrypt": 1}


@pytest.mark.parametrize("change", ["context", "key_id", "wrapped", "suite", "extra"])
def test_a_header_that_differs_in_anything_that_counts_is_a_miss(change):
    cache = Cache(policy())
    header = cache.header("a")
    cache.read(header)
    recipient = header.recipients[0]
    fields = {"kms": "fake", "key_id": recipient.key_id, "wrapped": recipient.wrapped}
    recipients = {
        "key_id": (Recipient(**{**fields, "key_id": "key-9"}),),
        "wrapped": (Recipient(**{**fields, "wrapped": "other"}),),
        "extra": (recipient, Recipient(**{**fields, "key_id": "key-9"})),
    }.get(change, header.recipients)
    suite = Suite.SM4_GCM if change == "suite" else header.suite
    other = Header(suite, recipients, "b" if change == "context" else "a")
    assert cache.datakeys.known(other.encode()) is None
    if change in {"context", "wrapped"}:
        with pytest.raises(NoUsableKey):
            cache.read(other)
    else:
        cache.read(other)
    assert cache.keys.calls["Decrypt"] == 2


def test_a_header_that_is_too_long_in_our_spelling_is_cached_like_others():
    header = Header(SUITE, (Recipient("fake", "key-1", "w" * MAX_JSON),))
    with pytest.raises(ValueError, match="the format allows"):
        header.encode()
    calls = []

    class Keys(FakeKeys):
        def unwrap(self, header, observe):
            calls.append(header)
            return bytearray(b"k" * 32), header.recipients[0]

    cache = Cache(policy(), keys=Keys())
    for _ in range(3):
        with cache.datakeys.for_reading(header) as lease:
            assert bytes(lease.dek) == b"k" * 32
    assert len(calls) == 1


def test_a_failed_unwrap_is_not_remembered():
    cache = Cache(policy())
    header = cache.header()
    cache.keys.fault = "refused"
    for _ in range(2):
        with pytest.raises(NoUsableKey):
            cache.read(header)
    cache.keys.fault = None
    cache.read(header)
    assert cache.keys.calls["Decrypt"] == 3


def test_readers_do_not_wait_either_when_their_dek_is_renewed():
    cache = Cache(ahead())
    header = cache.header()
    cache.read(header)
    cache.clock.advance(60)
    cache.read(header)
    assert cache.background.run() == 1
    cache.clock.advance(59)
    cache.read(header)
    assert (cache.stat("misses"), cache.stat("refreshes")) == (1, 1)


def test_an_unavailable_kms_lets_readers_go_on_if_the_owner_said_so():
    cache = Cache(stale())
    header = cache.header()
    cache.read(header)
    cache.keys.fault = "unavailable"
    cache.clock.advance(100)
    cache.read(header)
    cache.clock.advance(50)
    with pytest.raises(NoUsableKey):
        cache.read(header)


# What can be seen


def test_events_tell_what_happened_and_a_broken_hook_breaks_nothing(caplog):
    cache = Cache(policy(capacity=1))
    cache.write("a")
    cache.write("b")
    assert [event.name for event in cache.events] == ["kms_call", "kms_call", "evicted"]
    assert cache.events[0].details["action"] == "GenerateDataKey"
    assert cache.events[2].details["cause"] == "capacity"

    def broken(event):
        raise RuntimeError("hook")

    cache.datakeys._events.hook = broken
    cache.write("c")
    assert "hook failed" in caplog.text


def test_a_hook_may_use_the_cache_itself():
    cache, seen = Cache(policy()), []
    cache.datakeys._events.hook = lambda event: seen.append(cache.datakeys.stats()["misses"])
    cache.write()
    assert seen == [1]


def test_calls_are_counted_by_action_and_outcome():
    cache = Cache(policy())
    cache.write()
    cache.keys.fault = "throttled"
    with pytest.raises(KmsThrottled):
        cache.write("other")
    assert cache.stat("kms_calls") == {"GenerateDataKey": 2}
    assert cache.stat("kms_outcomes") == {"GenerateDataKey": {"ok": 1, "Test.throttled": 1}}
    assert cache.stat("latency")["GenerateDataKey"] == {"count": 2, "total": 0.1, "max": 0.05}
    assert str(fault("throttled")) == "GenerateDataKey: the test says throttled [Test.throttled]"
