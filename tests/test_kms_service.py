"""Kms and MasterKey over the embedded engine: keys, aliases, secrets, answers that are checked."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmsenvelope.errors import KeyUnavailable, KmsAccessDenied, KmsError, KmsUnavailable
from kmsenvelope.header import Recipient
from kmsenvelope.kms.alias import find_alias
from kmsenvelope.kms.forks import ForkLock
from kmsenvelope.kms.local import LocalKms
from kmsenvelope.kms.retry import Retry
from kmsenvelope.kms.sdklog import redact
from kmsenvelope.kms.service import Kms
from kmsenvelope.kms.transit import TransitKey
from kmsenvelope.kms.transport import ServiceError
from kmsenvelope.suites import Suite

CONTEXT = '{"tenant":"42"}'


@pytest.fixture
def kms() -> Iterator[LocalKms]:
    with LocalKms() as opened:
        yield opened


@pytest.fixture
def key_id(kms: LocalKms) -> str:
    return kms.create_key("demo")


@pytest.mark.parametrize("suite", Suite)
def test_generate_wrap_and_unwrap_a_data_key(kms: LocalKms, key_id: str, suite: Suite) -> None:
    key = kms.key(key_id)
    dek, recipient = key.generate(suite, CONTEXT)
    assert isinstance(dek, bytearray)
    assert len(dek) == suite.key_size
    assert (recipient.kms, recipient.region, recipient.key_id, recipient.alg) == ("local", None, key_id, None)
    assert key.unwrap(recipient, CONTEXT) == dek
    again = key.wrap(dek, CONTEXT)
    assert again.wrapped != recipient.wrapped
    assert key.unwrap(again, CONTEXT) == dek


@pytest.mark.parametrize("context", [None, '{"tenant":"43"}', "{}"])
def test_another_context_does_not_unwrap(kms: LocalKms, key_id: str, context: str | None) -> None:
    _, recipient = kms.key(key_id).generate(Suite.AES_256_GCM, CONTEXT)
    with pytest.raises(KmsError, match="context"):
        kms.key(key_id).unwrap(recipient, context)


def test_an_alias_is_looked_up_once_and_only_when_needed(kms: LocalKms, key_id: str) -> None:
    kms.create_key("demo-2")
    key = kms.key("demo")
    assert str(key) == "local:demo"
    assert "ListKeyDetail" not in kms.stats()["calls"]
    assert key.key_id == key_id
    assert key.opens(key.wrap(b"k" * 16, None))
    assert str(key) == f"local:{key_id}"
    assert kms.stats()["calls"]["ListKeyDetail"] == 1


def test_a_key_id_is_never_looked_up(kms: LocalKms, key_id: str) -> None:
    key = kms.key(key_id)
    assert not key.opens(Recipient("local", "x", "y"))
    assert key.key_id == key_id
    assert kms.stats()["calls"] == {"CreateKey": 1}


def test_an_alias_is_found_whatever_the_usage_and_only_if_it_is_equal(kms: LocalKms) -> None:
    kms.create_key("key-of-rsa-2")
    rsa = kms.create_key("key-of-rsa", usage="ASYMMETRIC_DECRYPT_RSA_2048")
    assert kms.key("key-of-rsa").key_id == rsa
    with pytest.raises(KeyUnavailable, match="has the alias 'key-of'"):
        _ = kms.key("key-of").key_id


def test_an_alias_is_found_on_any_page() -> None:
    keys = [{"Alias": f"k{n}", "KeyId": f"id-{n}"} for n in range(450)]
    offsets: list[object] = []

    def call(action: str, params: Mapping[str, object]) -> dict[str, Any]:
        offset, limit = int(str(params["Offset"])), int(str(params["Limit"]))
        offsets.append(offset)
        return {"TotalCount": len(keys), "KeyMetadatas": keys[offset : offset + limit]}

    found = find_alias(call, "k449")
    assert found == keys[449]
    assert offsets == [0, 200, 400]
    assert find_alias(call, "absent") is None


def test_an_alias_search_ends_even_if_the_total_is_wrong() -> None:
    assert find_alias(lambda action, params: {"TotalCount": 10, "KeyMetadatas": None}, "a") is None


@pytest.mark.parametrize("name", ["", "-a", "_a", "a b", "ä", "a" * 61, "a/b", "a#b"])
def test_what_is_neither_key_id_nor_alias_is_refused(kms: LocalKms, name: str) -> None:
    with pytest.raises(ValueError, match="alias"):
        kms.key(name)
    with pytest.raises(ValueError, match="alias"):
        kms.create_key(name)


def test_a_key_is_named_by_text(kms: LocalKms) -> None:
    for name in (None, 5, b"demo"):
        with pytest.raises(TypeError):
            kms.key(name)  # type: ignore[arg-type]


def test_create_key_checks_before_it_calls(kms: LocalKms) -> None:
    with pytest.raises(ValueError, match="reserved"):
        kms.create_key("kms-mine")
    with pytest.raises(ValueError, match="1024 bytes"):
        kms.create_key("a", description="ü" * 513)
    assert kms.stats()["calls"] == {}


def test_create_key_passes_everything_on(kms: LocalKms) -> None:
    key_id = kms.create_key("ext", description="d", external=True, tags={"env": "dev"})
    metadata = kms.call("DescribeKey", {"KeyId": key_id})["KeyMetadata"]
    assert (metadata["Alias"], metadata["Description"]) == ("ext", "d")
    assert (metadata["Origin"], metadata["KeyState"]) == ("EXTERNAL", "PendingImport")
    listed = kms.call("ListKeyDetail", {"TagFilters": [{"TagKey": "env", "TagValue": ["dev"]}]})
    assert [item["KeyId"] for item in listed["KeyMetadatas"]] == [key_id]


def test_a_taken_alias_says_so(kms: LocalKms, key_id: str) -> None:
    with pytest.raises(KmsError, match="another alias") as caught:
        kms.create_key("demo")
    assert caught.value.code == "InvalidParameterValue.AliasAlreadyExists"


# Small secrets.


@pytest.mark.parametrize("size", [1, 15, 16, 4095, 4096])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_small_secret_makes_the_round_trip(kms: LocalKms, key_id: str, size: int, kind: Any) -> None:
    data = os.urandom(size)
    blob = kms.key(key_id).encrypt(kind(data), {"app": "web"})
    assert kms.decrypt(blob, {"app": "web"}) == data


def test_a_larger_secret_is_told_to_use_an_envelope(kms: LocalKms, key_id: str) -> None:
    with pytest.raises(ValueError, match=r"4097 bytes.*4096.*EnvelopeClient"):
        kms.key(key_id).encrypt(bytes(4097))
    assert "Encrypt" not in kms.stats()["calls"]


def test_an_empty_secret_is_refused(kms: LocalKms, key_id: str) -> None:
    with pytest.raises(ValueError, match="nothing to encrypt"):
        kms.key(key_id).encrypt(b"")


def test_secrets_are_bytes_and_their_blobs_text(kms: LocalKms, key_id: str) -> None:
    with pytest.raises(TypeError, match="bytes-like"):
        kms.key(key_id).encrypt("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="str"):
        kms.decrypt(b"blob")  # type: ignore[arg-type]


@pytest.mark.parametrize("blob", ["", "x", "AAAA-k-BBBB-k-CCCC", "é"])
def test_what_is_no_blob_is_a_kms_error(kms: LocalKms, blob: str) -> None:
    with pytest.raises(KmsError):
        kms.decrypt(blob)


# States.


@pytest.mark.parametrize(
    ("steps", "advice"),
    [
        (["DisableKey"], "EnableKey"),
        (["ArchiveKey"], "CancelKeyArchive"),
        (["DisableKey", "ScheduleKeyDeletion"], "CancelKeyDeletion"),
    ],
)
def test_an_unusable_key_says_what_to_do(kms: LocalKms, key_id: str, steps: list[str], advice: str) -> None:
    for step in steps:
        window = {"PendingWindowInDays": 7} if step == "ScheduleKeyDeletion" else {}
        kms.call(step, {"KeyId": key_id, **window})
    with pytest.raises(KeyUnavailable, match=advice):
        kms.key(key_id).generate(Suite.AES_256_GCM, None)


def test_an_archived_key_still_unwraps(kms: LocalKms, key_id: str) -> None:
    dek, recipient = kms.key(key_id).generate(Suite.AES_256_GCM, None)
    kms.call("ArchiveKey", {"KeyId": key_id})
    assert kms.key(key_id).unwrap(recipient, None) == dek


def test_a_key_that_does_not_exist(kms: LocalKms) -> None:
    with pytest.raises(KeyUnavailable):
        kms.key("00000000-0000-0000-0000-000000000000").encrypt(b"x")


# Recipients.


def test_a_key_opens_only_what_names_it(kms: LocalKms, key_id: str) -> None:
    key = kms.key(key_id)
    good = key.wrap(b"k" * 16, None)
    assert key.opens(good)
    for other in (
        Recipient("tencent", key_id, good.wrapped),
        Recipient("local", key_id, good.wrapped, "ap-guangzhou"),
        Recipient("local", "another", good.wrapped),
    ):
        assert not key.opens(other)
        with pytest.raises(ValueError, match="does not open"):
            key.unwrap(other, None)


def test_a_blob_under_another_key_than_its_recipient_says_is_refused(kms: LocalKms, key_id: str) -> None:
    other = kms.key(kms.create_key("other")).wrap(b"k" * 16, None)
    forged = Recipient("local", key_id, other.wrapped)
    with pytest.raises(KmsError, match="answered in place of"):
        kms.key(key_id).unwrap(forged, None)


@pytest.mark.parametrize("size", [1, 15, 17, 31, 33])
def test_what_unwraps_to_no_dek_is_refused(kms: LocalKms, key_id: str, size: int) -> None:
    key = kms.key(key_id)
    with pytest.raises(KmsError, match=f"{size} bytes, not 16 or 32"):
        key.unwrap(key.wrap(bytes(size), None), None)


def test_a_whole_kms_opens_with_any_key_of_it(kms: LocalKms, key_id: str) -> None:
    dek, recipient = kms.key(key_id).generate(Suite.SM4_GCM, CONTEXT)
    assert kms.opens(recipient)
    assert kms.unwrap(recipient, CONTEXT) == dek
    assert not kms.opens(Recipient("tencent", key_id, "x", "ap-guangzhou"))


def test_rewrap_moves_a_data_key_without_showing_it(kms: LocalKms, key_id: str) -> None:
    dek, old = kms.key(key_id).generate(Suite.AES_256_GCM, CONTEXT)
    new_key = kms.key(kms.create_key("next"))
    new = new_key.rewrap(old, CONTEXT)
    assert new.key_id == new_key.key_id
    assert new_key.unwrap(new, CONTEXT) == dek
    assert "Decrypt" in kms.stats()["calls"]
    with pytest.raises(KmsError):
        new_key.rewrap(old, None)
    with pytest.raises(ValueError, match="symmetric"):
        new_key.rewrap(Recipient("local", key_id, "x", alg="RSAES_OAEP_SHA_256"), None)


def test_an_unknown_wrapping_algorithm_is_a_kms_error(kms: LocalKms, key_id: str) -> None:
    recipient = Recipient("local", key_id, "AAAA", alg="ROT13")
    with pytest.raises(KmsError, match="ROT13"):
        kms.key(key_id).unwrap(recipient, None)


# The store, processes and threads.


def test_keys_in_a_file_outlive_the_object(tmp_path: Path) -> None:
    with LocalKms(tmp_path / "keys.db") as kms:
        dek, recipient = kms.key(kms.create_key("demo")).generate(Suite.AES_256_GCM, None)
    assert (tmp_path / "keys.db").stat().st_mode & 0o777 == 0o600
    with LocalKms(str(tmp_path / "keys.db")) as kms:
        assert kms.key("demo").unwrap(recipient, None) == dek


def test_a_passphrase_is_needed_again(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with LocalKms(path, passphrase="correct horse") as kms:
        kms.create_key("demo")
    for passphrase in (None, "wrong"):
        with pytest.raises(KmsAccessDenied, match="passphrase"):
            LocalKms(path, passphrase=passphrase)
    with LocalKms(path, passphrase="correct horse") as kms:
        assert kms.decrypt(kms.key("demo").encrypt(b"x")) == b"x"


def test_a_file_that_is_no_key_store_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    path.write_bytes(b"not a database, by any means" * 100)
    with pytest.raises(KmsUnavailable, match="key store"):
        LocalKms(path)


def test_a_closed_local_kms_says_so(kms: LocalKms, key_id: str) -> None:
    kms.close()
    kms.close()
    with pytest.raises(ValueError, match="closed"):
        kms.key(key_id).encrypt(b"x")


def test_a_local_kms_in_a_file_is_pickled_by_its_path(tmp_path: Path) -> None:
    with LocalKms(tmp_path / "keys.db") as kms:
        key = kms.key(kms.create_key("demo"))
        blob = key.encrypt(b"x")
        copy = pickle.loads(pickle.dumps(key))
    with copy.kms as opened:
        assert isinstance(opened, LocalKms)
        assert opened.decrypt(blob) == b"x"


def test_a_local_kms_in_memory_says_why_it_is_not_pickled(kms: LocalKms) -> None:
    with pytest.raises(TypeError, match="in memory cannot be pickled"):
        pickle.dumps(kms)


def _child(kms: LocalKms, key_id: str, blob: str, results: Any) -> None:
    results.put((kms.decrypt(blob), kms.key(key_id).encrypt(b"from the child")))


@pytest.mark.parametrize("in_file", [True, False])
def test_a_forked_child_uses_the_same_keys(tmp_path: Path, in_file: bool) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with LocalKms(tmp_path / "keys.db" if in_file else None) as kms:
        key_id = kms.create_key("demo")
        blob = kms.key(key_id).encrypt(b"from the parent")
        child = context.Process(target=_child, args=(kms, key_id, blob, results))
        child.start()
        data, reply = results.get(timeout=30)
        child.join(30)
        assert data == b"from the parent"
        assert kms.decrypt(reply) == b"from the child"
    results.close()
    results.join_thread()


def test_a_lock_held_by_a_thread_at_the_fork_is_free_in_the_child() -> None:
    lock, locked, release = ForkLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            locked.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(30)
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        with lock:
            os._exit(7)
    release.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_forked_child_has_data_keys_enciphered_to_a_key_of_its_own() -> None:
    transit = TransitKey()
    ours = transit.params()["EncryptionPublicKey"]
    pid = os.fork()
    if pid == 0:
        os._exit(7 if transit.params()["EncryptionPublicKey"] != ours else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert transit.params()["EncryptionPublicKey"] == ours


class Scripted:
    """A transport that plays a list of errors and answers."""

    name, region = "tencent", "ap-guangzhou"

    def __init__(self, *script: dict[str, Any] | ServiceError) -> None:
        self.script = list(script)

    def call(self, action: str, params: Mapping[str, object]) -> dict[str, Any]:
        step = self.script.pop(0)
        if isinstance(step, ServiceError):
            raise step
        return step

    def close(self) -> None:
        pass


def test_create_key_finds_its_key_even_if_the_first_look_up_came_too_early() -> None:
    found = {"KeyId": "id", "Alias": "a", "CreateTime": 1000, "Description": "", "Origin": "TENCENT_KMS"}
    transport = Scripted(
        ServiceError("ClientNetworkError", "the answer is lost"),
        {"TotalCount": 0, "KeyMetadatas": []},
        ServiceError("InvalidParameterValue.AliasAlreadyExists", "by the first attempt"),
        {"TotalCount": 1, "KeyMetadatas": [{**found, "KeyUsage": "ENCRYPT_DECRYPT"}]},
    )
    kms = Kms(transport, retry=Retry(sleep=lambda seconds: None, wall=lambda: 1000.0))
    assert kms.create_key("a") == "id"
    assert transport.script == []


class Answering:
    """A transport that answers as told."""

    name, region = "tencent", "ap-guangzhou"

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    def call(self, action: str, params: Mapping[str, object]) -> dict[str, Any]:
        return self.answer

    def close(self) -> None:
        pass


def test_the_name_of_a_key_is_its_address() -> None:
    kms = Kms(Answering({}))
    assert str(kms.key("demo")) == "tencent:ap-guangzhou/demo"
    assert repr(kms) == "<Kms tencent:ap-guangzhou>"
    assert repr(kms.key("demo")) == "<MasterKey tencent:ap-guangzhou/demo>"


@pytest.mark.parametrize("blob", ["\n", "é", 5, "a\tb"])
def test_a_blob_that_no_header_could_hold_is_refused(blob: Any) -> None:
    key_id = "00000000-0000-0000-0000-000000000000"
    kms = Kms(Answering({"KeyId": key_id, "CiphertextBlob": blob}))
    with pytest.raises(KmsError, match="not text"):
        kms.key(key_id).wrap(b"k" * 16, None)


@given(st.text(), st.sampled_from(["Plaintext", "CiphertextBlob", "Token", "EncryptedKeyMaterial"]))
def test_the_log_filter_removes_any_value_of_a_secret_member(value: str, member: str) -> None:
    import json

    secret = f"SECRET{value}SECRET"
    shown = redact(json.dumps({"KeyId": "kept", member: secret, "Other": "kept"}))
    assert "SECRET" not in shown
    assert shown.count("kept") == 2
