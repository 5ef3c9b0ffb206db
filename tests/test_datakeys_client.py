"""The data-key cache as an application meets it: EnvelopeClient over a real KMS in the process."""

from __future__ import annotations

import io
import pickle
import threading

import pytest

from kmsenvelope import CachePolicy, EnvelopeClient, KeyUnavailable, LocalKms, NoUsableKey


@pytest.fixture
def kms():
    with LocalKms() as kms:
        yield kms


@pytest.fixture
def key(kms):
    return kms.key(kms.create_key(alias="cache"))


def test_many_messages_cost_one_call_to_write_and_one_to_read(key):
    with EnvelopeClient(key) as client:
        blobs = [client.encrypt(bytes([number]), context={"t": "1"}) for number in range(100)]
        assert [client.decrypt(blob, context={"t": "1"}) for blob in blobs] == [
            bytes([n]) for n in range(100)
        ]
        stats = client.stats()
    assert stats["kms_calls"] == {"GenerateDataKey": 1, "Decrypt": 1}
    assert (stats["hits"], stats["misses"], stats["waits"]) == (198, 2, 0)
    assert stats["latency"]["Decrypt"]["count"] == 1


def test_one_key_at_a_time_costs_a_call_for_each(key):
    with EnvelopeClient(key, cache=CachePolicy.disabled()) as client:
        for _ in range(3):
            client.decrypt(client.encrypt(b"x"))
        assert client.stats()["kms_calls"] == {"GenerateDataKey": 3, "Decrypt": 3}


def test_streams_of_unknown_length_use_the_cache_and_close_its_window(key):
    with EnvelopeClient(key, cache=CachePolicy(max_bytes=100_000, refresh_ahead=None)) as client:
        for calls in (1, 1, 2):
            with client.open(io.BytesIO(), "wb") as stream:
                stream.write(bytes(50_000))
            assert client.stats()["kms_calls"] == {"GenerateDataKey": calls}
        with client.open(io.BytesIO(), "wb") as stream:
            stream.write(bytes(500_000))  # beyond the window: it finishes under its own DEK
        assert client.stats()["kms_calls"] == {"GenerateDataKey": 2}
        client.encrypt(b"next")
        assert client.stats()["kms_calls"] == {"GenerateDataKey": 3}


def test_a_disabled_key_is_dropped_as_soon_as_the_kms_says_so(kms, key):
    with EnvelopeClient(key) as client:
        blob = client.encrypt(b"x")
        client.decrypt(blob)
        kms.call("DisableKey", {"KeyId": key.key_id})
        client.encrypt(b"x")  # the window is open and nobody has asked
        with pytest.raises(KeyUnavailable):
            client.encrypt(b"x", context={"another": "context"})
        with pytest.raises(KeyUnavailable):
            client.encrypt(b"x")
        with pytest.raises(NoUsableKey):
            client.decrypt(blob)
        assert client.stats()["held"] == {"encrypt": 0, "decrypt": 0}
        assert client.stats()["evictions"] == {"refused": 2}


def test_forget_makes_the_next_message_ask_the_kms(kms, key):
    with EnvelopeClient(key) as client:
        client.encrypt(b"x")
        kms.call("DisableKey", {"KeyId": key.key_id})
        client.forget(key.key_id)
        with pytest.raises(KeyUnavailable):
            client.encrypt(b"x")


def test_threads_share_one_client_and_one_call(key):
    with EnvelopeClient(key) as client:
        barrier = threading.Barrier(32)

        def work() -> None:
            barrier.wait()
            for _ in range(20):
                client.decrypt(client.encrypt(b"x"))

        threads = [threading.Thread(target=work, daemon=True) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert client.stats()["kms_calls"] == {"GenerateDataKey": 1, "Decrypt": 1}


def test_a_pickled_client_carries_its_policy_and_no_key(tmp_path):
    policy = CachePolicy(max_messages=2, refresh_ahead=None)
    with LocalKms(tmp_path / "keys.db") as kms:
        kms.create_key(alias="cache")
        with EnvelopeClient(kms.key("cache"), cache=policy) as client:
            blob = client.encrypt(b"x")
            pickled = pickle.dumps(client)
            with client._datakeys.for_writing(None) as lease:
                assert bytes(lease.dek) not in pickled
    with pickle.loads(pickled) as other:
        assert other.stats()["held"] == {"encrypt": 0, "decrypt": 0}
        assert other.decrypt(blob) == b"x"
        for calls in (1, 1, 2):
            other.encrypt(b"x")
            assert other.stats()["kms_calls"]["GenerateDataKey"] == calls


def test_the_hook_hears_of_calls_and_renewals(key):
    events = []
    with EnvelopeClient(
        key, on_event=events.append, cache=CachePolicy(max_messages=2, refresh_ahead=None)
    ) as client:
        for _ in range(3):
            client.encrypt(b"x")
    assert [event.name for event in events] == ["kms_call", "evicted", "kms_call", "evicted"]
    assert events[0].details["key_id"] == key.key_id
    assert [event.details["cause"] for event in events if event.name == "evicted"] == ["messages", "closed"]
