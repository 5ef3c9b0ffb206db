"""The data-key cache under real threads and real time."""

from __future__ import annotations

import dis
import gc
import os
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cachekit import WIPED, Cache, FakeKeys

from kmsenvelope import datakeys as datakeys_module
from kmsenvelope.datakeys import CachePolicy, DataKeys
from kmsenvelope.errors import KmsUnavailable, NoUsableKey
from kmsenvelope.suites import Suite

THREADS = 64


def together(count: int, work: Callable[[int], object]) -> list[object]:
    """Run ``work(i)`` on ``count`` threads that start at the same moment; results, or the errors raised."""
    barrier = threading.Barrier(count)
    results: list[object] = [None] * count

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    return results


def slow(seconds: float) -> FakeKeys:
    keys = FakeKeys()
    keys.gate = lambda key: time.sleep(seconds)
    return keys


def message(datakeys: DataKeys, context: str | None = None, size: int | None = None) -> bytes:
    with datakeys.for_writing(context, size) as lease:
        dek = bytes(lease.dek)
        assert dek != WIPED
        return dek


def test_threads_that_miss_together_cause_one_call_and_get_its_result():
    cache = Cache(keys=slow(0.05))
    assert len(set(together(THREADS, lambda i: cache.write()))) == 1
    assert cache.keys.calls == {"GenerateDataKey": 1}
    assert (cache.stat("misses"), cache.stat("waits") + cache.stat("hits")) == (1, THREADS - 1)


def test_threads_that_miss_together_get_the_error_of_the_one_call():
    cache = Cache(keys=slow(0.2))
    cache.keys.fault = "unavailable"
    results = together(THREADS, lambda i: cache.write())
    assert {type(result) for result in results} == {KmsUnavailable}
    assert cache.keys.calls == {"GenerateDataKey": 1}


def test_readers_that_miss_together_cause_one_call_too():
    cache = Cache(keys=slow(0.05))
    header = cache.header("a")
    assert len(set(together(THREADS, lambda i: cache.read(header)))) == 1
    assert cache.keys.calls == {"Decrypt": 1}
    cache.keys.fault = "refused"
    other = cache.keys
    cache = Cache(keys=other)
    assert {type(result) for result in together(8, lambda i: cache.read(header))} == {NoUsableKey}


def test_a_caller_that_is_interrupted_leaves_the_call_to_the_next_one():
    cache = Cache()
    first = threading.Event()

    def gate(key: object) -> None:
        if not first.is_set():
            first.set()
            time.sleep(0.05)
            raise KeyboardInterrupt

    cache.keys.gate = gate
    results = together(16, lambda i: cache.write())
    assert sum(isinstance(result, KeyboardInterrupt) for result in results) == 1
    assert len({result for result in results if isinstance(result, bytes)}) == 1
    assert cache.keys.calls == {"GenerateDataKey": 2}


def interrupted_at(number: int, work: Callable[[], object], folder: str) -> bool:
    """``work()`` with a KeyboardInterrupt at the n-th moment at which the code in ``folder`` can get one.

    CPython looks for signals after a call and at the start of a function or of another round of a loop.
    """
    last: dict[types.FrameType, str] = {}
    moments = 0

    def trace(frame: types.FrameType, event: str, argument: object) -> Any:
        nonlocal moments
        if not frame.f_code.co_filename.startswith(folder) or frame.f_code.co_name == "__del__":
            return None  # an interrupt of a finalizer is lost
        frame.f_trace_opcodes = True
        if event == "opcode":
            before = last.get(frame, "")
            last[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            moments += before.startswith(("CALL", "RESUME", "JUMP_BACKWARD"))
            if moments == number and before.startswith(("CALL", "RESUME", "JUMP_BACKWARD")):
                raise KeyboardInterrupt
        return trace

    others = sys.gettrace()
    gc.disable()  # what other tests left is not to be finalized here
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(others)
        gc.enable()
    return False


@pytest.mark.parametrize("policy", [CachePolicy(refresh_ahead=None), CachePolicy.disabled()])
def test_whenever_a_caller_is_interrupted_the_next_one_is_served(policy):
    folder = os.path.dirname(datakeys_module.__file__)
    number = 1
    while True:
        with DataKeys(FakeKeys(), Suite.AES_256_GCM, policy) as datakeys:
            if not interrupted_at(number, partial(message, datakeys), folder):
                break
            (dek,) = together(1, lambda i, datakeys=datakeys: message(datakeys))
            assert isinstance(dek, bytes)
        number += 1
    assert number > 30


def test_a_slow_call_for_one_context_holds_up_no_other():
    cache = Cache()
    hang = threading.Event()
    cache.keys.gate = lambda key: hang.wait(10) if key == "slow" else None
    waiter = threading.Thread(target=cache.write, args=("slow",), daemon=True)
    waiter.start()
    for _ in range(100):
        cache.write("fast")
    assert waiter.is_alive()
    hang.set()
    waiter.join(10)


@pytest.mark.parametrize("refresh_ahead", [None, 0.5])
def test_no_dek_serves_more_than_its_messages_however_many_threads(refresh_ahead):
    policy = CachePolicy(max_messages=100, refresh_ahead=refresh_ahead)
    with DataKeys(FakeKeys(), Suite.AES_256_GCM, policy) as datakeys:
        used = together(16, lambda i: [message(datakeys) for _ in range(500)])
        counts = Counter(dek for deks in used for dek in deks)
    assert sum(counts.values()) == 8000
    assert max(counts.values()) <= 100


def test_no_dek_serves_more_than_its_bytes_however_many_threads():
    policy = CachePolicy(max_bytes=1000, refresh_ahead=0.5)
    with DataKeys(FakeKeys(), Suite.AES_256_GCM, policy) as datakeys:
        used = together(16, lambda i: [message(datakeys, size=i + 1) for _ in range(200)])
    total = Counter()
    for number, deks in enumerate(used):
        for dek in deks:
            total[dek] += number + 1
    assert max(total.values()) <= 1000


def test_charges_from_many_threads_are_all_counted():
    cache = Cache(CachePolicy(max_bytes=1 << 40))
    with cache.datakeys.for_writing(None) as lease:
        together(16, lambda i: [lease.charge(1) for _ in range(2000)])
    assert lease.bytes == 32_000


def test_a_crowded_cache_gives_every_thread_the_dek_of_its_context():
    policy = CachePolicy(capacity=2, max_messages=5, refresh_ahead=0.5)
    keys = FakeKeys()
    with DataKeys(keys, Suite.AES_256_GCM, policy) as datakeys:
        results = together(16, lambda i: [message(datakeys, str(i % 8)) for _ in range(200)])
    for number, deks in enumerate(results):
        assert {keys.made[dek] for dek in deks} == {str(number % 8)}
    assert max(keys.most_in_flight.values()) == 1


def test_in_steady_state_no_caller_waits_for_the_kms():
    keys = slow(0.02)
    policy = CachePolicy(max_age=1.0, refresh_ahead=0.2, decrypt_max_age=0)
    stop = time.monotonic() + 2
    with DataKeys(keys, Suite.AES_256_GCM, policy) as datakeys:
        message(datakeys)

        def work(number: int) -> None:
            while time.monotonic() < stop:
                message(datakeys)
                time.sleep(0.002)

        together(8, work)
        stats = datakeys.stats()
    assert (stats["misses"], stats["waits"]) == (1, 0)
    assert stats["refreshes"] >= 2
    assert max(keys.most_in_flight.values()) == 1


def test_an_idle_dek_is_wiped_when_its_window_closes_without_any_call():
    policy = CachePolicy(max_age=0.05, decrypt_max_age=0.1)
    keys = FakeKeys()
    with DataKeys(keys, Suite.AES_256_GCM, policy) as datakeys:
        for _ in range(2):  # the thread ends with the last DEK, and comes back with the next
            with datakeys.for_writing(None) as written:
                pass
            with datakeys.for_reading(written.header_value) as read:
                assert bytes(read.dek) != WIPED
            deadline = time.monotonic() + 5
            while datakeys.stats()["held"] != {"encrypt": 0, "decrypt": 0}:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert bytes(written.dek) == bytes(read.dek) == WIPED
        assert datakeys.stats()["evictions"] == {"age": 4}


def test_close_ends_the_background_thread():
    before = set(threading.enumerate())
    datakeys = DataKeys(FakeKeys(), Suite.AES_256_GCM)
    message(datakeys)
    (thread,) = set(threading.enumerate()) - before
    datakeys.close()
    thread.join(5)
    assert not thread.is_alive()


def test_a_cache_that_is_thrown_away_ends_its_background_thread():
    before = set(threading.enumerate())
    datakeys = DataKeys(FakeKeys(), Suite.AES_256_GCM)
    message(datakeys)
    (thread,) = set(threading.enumerate()) - before
    del datakeys
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_background_renewals_go_on_while_others_hang():
    keys = FakeKeys()
    policy = CachePolicy(max_age=60, max_messages=4, refresh_ahead=0.25)
    hang = threading.Event()
    with DataKeys(keys, Suite.AES_256_GCM, policy, rand=lambda: 0.0) as datakeys:
        contexts = [str(number) for number in range(4)]
        for context in contexts:
            message(datakeys, context)
        keys.gate = lambda key: hang.wait(10) if key != "3" else None
        for context in contexts:
            message(datakeys, context)
        deadline = time.monotonic() + 5
        while datakeys.stats()["refreshes"] < 1:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        hang.set()
