"""No DEK outlives its entry, and none is ever shown: repr, logs, pickles, tracebacks, forked children."""

from __future__ import annotations

import copy
import gc
import logging
import os
import pickle
import signal
import threading
import time
import traceback
import weakref

import pytest
from cachekit import SUITE, WIPED, Cache, FakeKeys

from kmsenvelope.datakeys import CachePolicy, DataKeys
from kmsenvelope.errors import KmsError
from kmsenvelope.secret import Secret


def policy(**kwargs) -> CachePolicy:
    return CachePolicy(**{"max_age": 100, "decrypt_max_age": 100, "refresh_ahead": None, **kwargs})


# Wiping


def leaving(cache: Cache, how: str) -> None:
    if how == "age":
        cache.clock.advance(100)
        cache.datakeys._sweep()
    elif how == "age, at the next call":
        cache.clock.advance(100)
        cache.write("a")
    elif how == "messages":
        cache.write("a")
        cache.write("a")
    elif how == "bytes":
        cache.write("a", 1000)
    elif how == "capacity":
        cache.write("b")
    elif how == "forget":
        cache.datakeys.forget("key-1")
    elif how == "refused":
        cache.keys.fault = "disabled"
        with pytest.raises(KmsError):
            cache.write("b")
    else:
        cache.datakeys.close()


WAYS = ["age", "age, at the next call", "messages", "bytes", "capacity", "forget", "refused", "close"]


@pytest.mark.parametrize("how", WAYS)
def test_a_dek_is_wiped_when_it_leaves(how):
    cache = Cache(policy(capacity=1, max_messages=2, max_bytes=1000))
    with cache.datakeys.for_writing("a", 1) as lease:
        dek = bytes(lease.dek)
    assert bytes(lease.dek) == dek != WIPED
    leaving(cache, how)
    assert bytes(lease.dek) == WIPED


@pytest.mark.parametrize("how", WAYS)
def test_a_dek_in_use_is_wiped_only_when_the_last_user_is_done(how):
    cache = Cache(policy(capacity=1, max_messages=3, max_bytes=1000))
    with cache.datakeys.for_writing("a", 1) as lease:
        dek = bytes(lease.dek)
        with cache.datakeys.for_writing("a", 1):
            leaving(cache, how)
            assert bytes(lease.dek) == dek
        assert bytes(lease.dek) == dek
    assert bytes(lease.dek) == WIPED


def test_a_dek_read_with_is_wiped_the_same_way():
    cache = Cache(policy())
    with cache.datakeys.for_reading(cache.header()) as lease:
        cache.datakeys.close()
        assert bytes(lease.dek) != WIPED
    assert bytes(lease.dek) == WIPED


def test_a_dek_for_one_message_is_wiped_after_it():
    cache = Cache(CachePolicy.disabled())
    with cache.datakeys.for_writing(None) as written, cache.datakeys.for_reading(cache.header()) as read:
        assert WIPED not in {bytes(written.dek), bytes(read.dek)}
    assert bytes(written.dek) == bytes(read.dek) == WIPED


def test_an_error_inside_the_block_wipes_too():
    cache = Cache(CachePolicy.disabled())
    with pytest.raises(RuntimeError), cache.datakeys.for_writing(None) as lease:
        raise RuntimeError
    assert bytes(lease.dek) == WIPED


def test_the_buffer_that_the_keys_handed_over_is_wiped_at_once():
    cache = Cache(policy())
    cache.write()
    assert [bytes(buffer) for buffer in cache.keys.handed] == [WIPED]


def test_a_cache_that_is_thrown_away_wipes_its_deks():
    datakeys = DataKeys(FakeKeys(), SUITE)
    with datakeys.for_writing(None) as lease:
        dek = lease.dek
    gone = weakref.ref(datakeys)
    del datakeys, lease
    gc.collect()
    assert gone() is None
    assert bytes(dek) == WIPED


def test_memoryviews_do_not_keep_a_dek_from_being_wiped():
    secret = Secret(b"k" * 32)
    with memoryview(secret) as view:
        secret.wipe()
        assert bytes(view) == WIPED


def test_after_close_nothing_is_served_and_closing_again_is_fine():
    cache = Cache(policy())
    header = cache.header()
    with cache.datakeys:
        cache.write()
    cache.datakeys.close()
    for policy_ in (None, CachePolicy.disabled()):
        cache = Cache(policy_)
        cache.datakeys.close()
        for use in (cache.write, lambda cache=cache: cache.read(header)):
            with pytest.raises(ValueError, match="closed"):
                use()
    assert cache.background.stopped


# Nothing is shown


def secret_of(cache: Cache) -> list[bytes]:
    """Spellings under which the DEKs so far could turn up in text."""
    deks = [dek for dek in cache.keys.made if dek]
    return [
        spelling for dek in deks for spelling in (dek.hex(), repr(dek)[2:-1], repr(bytearray(dek))[12:-2])
    ]


def test_repr_and_formatting_hide_the_key():
    cache = Cache(policy())
    with cache.datakeys.for_writing(None) as lease:
        shown = [repr(lease), str(lease.dek), repr(lease.dek), f"{lease.dek}", f"{lease.dek!r:>40}"]
        shown += [
            repr(cache.datakeys),
            repr([lease.dek]),
            repr(cache.datakeys.__dict__),
        ]
    assert not any(spelling in text for spelling in secret_of(cache) for text in shown)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_neither_cache_nor_lease_nor_key_is_pickled_or_copied(take):
    cache = Cache(policy())
    with cache.datakeys.for_writing(None) as lease:
        for thing in (cache.datakeys, lease, lease.dek):
            with pytest.raises(TypeError, match="never pickled"):
                take(thing)


def test_tracebacks_with_local_variables_show_no_key():
    cache = Cache(policy())

    def application() -> None:
        with cache.datakeys.for_writing(None) as lease:
            dek = lease.dek  # noqa: F841
            raise RuntimeError("application")

    try:
        application()
    except RuntimeError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "secret bytes" in text
    assert not any(spelling in text for spelling in secret_of(cache))


def test_logs_and_events_and_statistics_show_no_key(caplog):
    caplog.set_level(logging.DEBUG, "kmsenvelope")
    cache = Cache(policy(refresh_ahead=0.5, stale_if_unavailable=50, capacity=1))
    header = cache.header("h")
    for context in ("a", "b"):
        cache.write(context)
    cache.read(header)
    cache.clock.advance(60)
    cache.keys.fault = "unavailable"
    cache.write("b")
    cache.background.run()
    cache.clock.advance(60)
    cache.write("b")
    cache.keys.fault = "disabled"
    with pytest.raises(KmsError):
        cache.write("c")
    text = caplog.text + repr(cache.events) + repr(cache.datakeys.stats())
    assert {"kms_call", "evicted", "refresh_failed", "stale"} <= {event.name for event in cache.events}
    assert all(event.name in caplog.text for event in cache.events)
    assert not any(spelling in text for spelling in secret_of(cache))


# Fork

# Python 3.12 and later warn of what is tested here: a fork while other threads run.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def in_child(work) -> str:
    """What ``work()`` says in a forked child."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that hangs ends, and its answer is empty
        try:
            answer = str(work())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write_end, answer.encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer


@forks
def test_a_forked_child_starts_empty_and_the_parent_keeps_what_it_has():
    keys = FakeKeys()
    with DataKeys(keys, SUITE) as datakeys:
        with datakeys.for_writing(None) as lease:
            dek = bytes(lease.dek)

        def child() -> str:
            empty = datakeys.stats()["held"] == {"encrypt": 0, "decrypt": 0} and bytes(lease.dek) == WIPED
            with datakeys.for_writing(None) as own:
                return f"{empty} {bytes(own.dek) != dek} {datakeys.stats()['misses']}"

        assert in_child(child) == "True True 1"
        assert bytes(lease.dek) == dek
        assert datakeys.stats()["misses"] == 1


@forks
def test_a_message_in_flight_across_a_fork_finishes_in_the_child_and_is_wiped_then():
    with DataKeys(FakeKeys(), SUITE) as datakeys, datakeys.for_writing(None) as lease:

        def child() -> str:
            during = bytes(lease.dek) != WIPED
            lease.__exit__(None, None, None)
            return f"{during} {bytes(lease.dek) == WIPED}"

        assert in_child(child) == "True True"


@forks
def test_a_child_forked_while_threads_are_busy_neither_hangs_nor_waits_for_their_calls():
    keys = FakeKeys()
    hang, stop = threading.Event(), threading.Event()
    keys.gate = lambda key: hang.wait(10) if key == "slow" else None
    with DataKeys(keys, SUITE, CachePolicy(max_messages=20)) as datakeys:

        def busy() -> None:
            while not stop.is_set():
                with datakeys.for_writing("fast", 1):
                    pass

        def slow() -> None:
            with datakeys.for_writing("slow"):
                pass

        threads = [threading.Thread(target=target, daemon=True) for target in (busy, busy, slow)]
        for thread in threads:
            thread.start()

        def child() -> str:
            keys.gate = lambda key: None
            for context in ("slow", "fast"):
                with datakeys.for_writing(context):
                    pass
            return "done"

        time.sleep(0.02)
        answers = [in_child(child) for _ in range(20)]
        stop.set()
        hang.set()
        for thread in threads:
            thread.join(10)
    assert answers == ["done"] * 20
