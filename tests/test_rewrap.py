"""Other keys for envelopes in memory: which calls it takes, what is proved, and what is refused."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmsenvelope import (
    AuthenticationError,
    CachePolicy,
    EnvelopeClient,
    FormatError,
    Header,
    KeyUnavailable,
    LocalKms,
    NoUsableKey,
    Recipient,
    Suite,
    TruncatedError,
    inspect,
)
from kmsenvelope.errors import KmsError
from kmsenvelope.header import decode_header
from kmsenvelope.keyset import KeySet
from kmsenvelope.kms.masterkey import MasterKey
from kmsenvelope.kms.private import PrivateKey
from kmsenvelope.rewrap import Change, Rewrap

CACHELESS = CachePolicy.disabled()


@pytest.fixture(scope="module")
def kms() -> Iterator[LocalKms]:
    with LocalKms() as kms:
        for alias in "abcd":
            kms.create_key(alias)
        kms.create_key("rsa", usage="ASYMMETRIC_DECRYPT_RSA_2048")
        yield kms


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[LocalKms]:
    with LocalKms() as kms:
        kms.create_key("far")
        yield kms


@pytest.fixture
def client(kms: LocalKms) -> Iterator[EnvelopeClient]:
    with EnvelopeClient(kms.key("a")) as client:
        yield client


def keys_of(blob: bytes) -> list[str]:
    return [one.key_id for one in inspect(blob).recipients]


def opens(blob: bytes, *keys: Any, **bound: Any) -> bytes:
    with EnvelopeClient(*keys) as client:
        return client.decrypt(blob, **bound)


def rewrap_calls(client: EnvelopeClient) -> dict[str, int]:
    return dict(client._rewraps.calls())


@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("bound", [{}, {"context": {"tenant": "42"}}, {"aad": b"row 7"}])
def test_the_new_keys_open_and_the_old_do_not_and_the_body_is_the_same(
    kms: LocalKms, suite: Suite, bound: dict[str, Any]
) -> None:
    with EnvelopeClient(kms.key("a"), suite=suite) as client:
        blob = client.encrypt(b"data", **bound)
        moved = client.rewrap(blob, [kms.key("b"), kms.key("c")], aad=bound.get("aad", b""))
        with pytest.raises(NoUsableKey):
            client.decrypt(moved, aad=bound.get("aad", b""))
    assert opens(moved, kms.key("b"), **bound) == opens(moved, kms.key("c"), **bound) == b"data"
    assert moved[decode_header(moved)[1] :] == blob[decode_header(blob)[1] :]
    assert inspect(moved).context_json == inspect(blob).context_json


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True), st.data())
def test_any_sequence_of_changes_ends_with_the_keys_asked_for(
    kms: LocalKms, start: list[str], data: st.DataObject
) -> None:
    with EnvelopeClient(*map(kms.key, "abcd")) as client:
        with EnvelopeClient(*map(kms.key, start)) as writer:
            blob = writer.encrypt(b"data", context={"a": "b"})
        expected = [kms.key(name).key_id for name in start]
        for _ in range(data.draw(st.integers(1, 4))):
            names = data.draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True))
            keys = [kms.key(name) for name in names]
            ids = [key.key_id for key in keys]
            kind = data.draw(st.sampled_from(["keys", "add", "remove"]))
            if kind == "keys":
                blob, expected = client.rewrap(blob, keys), ids
            elif kind == "add":
                blob = client.rewrap(blob, add=keys)
                expected = [*expected, *(one for one in ids if one not in expected)]
            elif left := [one for one in expected if one not in ids]:
                blob, expected = client.rewrap(blob, remove=keys), left
            assert keys_of(blob) == expected
            assert client.decrypt(blob, context={"a": "b"}) == b"data"


def test_what_needs_no_change_costs_nothing_and_gives_the_same_bytes(
    kms: LocalKms, client: EnvelopeClient
) -> None:
    blob = client.encrypt(b"data", header_room=50)
    assert client.rewrap(blob) is not None
    assert client.rewrap(blob) == client.rewrap(blob, [kms.key("a")]) == blob
    assert client.rewrap(blob, add=[kms.key("a")]) == client.rewrap(blob, remove=[kms.key("b")]) == blob
    assert rewrap_calls(client) == {}


def test_the_default_is_the_clients_own_keys(kms: LocalKms) -> None:
    with EnvelopeClient(kms.key("a")) as old:
        blob = old.encrypt(b"data")
    with EnvelopeClient(kms.key("b"), kms.key("a")) as client:
        assert client.needs_rewrap(inspect(blob))
        moved = client.rewrap(blob)
        assert keys_of(moved) == [kms.key("b").key_id, kms.key("a").key_id]
        assert not client.needs_rewrap(inspect(moved))
        assert inspect(moved).recipients[1] == inspect(blob).recipients[0]


@pytest.mark.parametrize("room", [1, 500, 60_000])
def test_header_room_is_spaces_in_every_way_to_encrypt(client: EnvelopeClient, room: int) -> None:
    stream = io.BytesIO()
    with client.open(stream, "wb", header_room=room) as writer:
        writer.write(b"data")
    for blob in (client.encrypt(b"data", header_room=room), stream.getvalue()):
        header, size = decode_header(blob)
        assert blob[len(header.encode()) : size] == b" " * room
        assert client.decrypt(blob) == b"data"


@pytest.mark.parametrize(("room", "error"), [(-1, ValueError), (66_000, ValueError), ("9", TypeError)])
def test_header_room_that_no_header_has_is_refused(
    client: EnvelopeClient, room: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="header_room"):
        client.encrypt(b"data", header_room=room)
    with pytest.raises(error, match="header_room"):
        client.open(io.BytesIO(), "wb", header_room=room)


# How it is done.


def test_symmetric_cmks_of_one_kms_move_by_re_encrypt(kms: LocalKms, client: EnvelopeClient) -> None:
    client.rewrap(client.encrypt(b"data"), [kms.key("b"), kms.key("c")])
    assert rewrap_calls(client) == {"ReEncrypt": 2, "Decrypt": 2}


def test_without_verification_the_dek_never_leaves_the_kms(kms: LocalKms, client: EnvelopeClient) -> None:
    blob = client.encrypt(b"data")
    moved = client.rewrap(blob, [kms.key("b")], verify=False)
    assert rewrap_calls(client) == {"ReEncrypt": 1}
    assert opens(moved, kms.key("b")) == b"data"


def test_a_key_of_another_kms_gets_the_dek_by_unwrapping_and_wrapping(
    kms: LocalKms, elsewhere: LocalKms, client: EnvelopeClient
) -> None:
    moved = client.rewrap(client.encrypt(b"data", context={"a": "b"}), [elsewhere.key("far"), kms.key("b")])
    assert opens(moved, elsewhere.key("far")) == opens(moved, kms.key("b")) == b"data"
    calls = rewrap_calls(client)
    assert calls["Encrypt"] == 1
    # Both stores are called "local", so that ReEncrypt is tried, and refused, before.
    assert calls["ReEncrypt"] == 2


def test_public_keys_are_wrapped_for_and_opened_from(kms: LocalKms, client: EnvelopeClient) -> None:
    hybrid = PrivateKey.generate_hybrid()
    moved = client.rewrap(client.encrypt(b"data"), [kms.public_key("rsa"), hybrid.public_key])
    assert opens(moved, hybrid) == opens(moved, kms.key("rsa")) == b"data"
    with EnvelopeClient(kms.key("rsa")) as back:
        home = back.rewrap(moved, [kms.key("a")])
        assert rewrap_calls(back) == {"AsymmetricRsaDecrypt": 1, "Encrypt": 1, "Decrypt": 1}
    assert client.decrypt(home) == b"data"


def test_envelopes_under_one_dek_cost_the_calls_of_one(kms: LocalKms, client: EnvelopeClient) -> None:
    blobs = [client.encrypt(b"%d" % n, aad=b"%d" % n) for n in range(200)]
    moved = [client.rewrap(blob, [kms.key("b")], aad=b"%d" % n) for n, blob in enumerate(blobs)]
    assert rewrap_calls(client) == {"ReEncrypt": 1, "Decrypt": 1}
    with EnvelopeClient(kms.key("b")) as after:
        for n, blob in enumerate(moved):
            assert after.decrypt(blob, aad=b"%d" % n) == b"%d" % n
    assert client.stats()["kms_calls"] == {"GenerateDataKey": 1, "ReEncrypt": 1, "Decrypt": 1}


def test_a_key_by_its_alias_is_the_same_key_before_and_after_it_was_looked_up(kms: LocalKms) -> None:
    with EnvelopeClient(kms.key("a")) as client:
        blob = client.encrypt(b"data")
        by_alias = kms.key("b")
        for keys in ([by_alias], [by_alias], [kms.key("b")], [kms.key(by_alias.key_id)]):
            client.rewrap(blob, keys)
        assert rewrap_calls(client) == {"ReEncrypt": 1, "Decrypt": 1}


def test_a_refresh_wraps_again_only_what_a_rotation_has_made_old(kms: LocalKms) -> None:
    key_id = kms.create_key("rotating")
    with EnvelopeClient(kms.key(key_id)) as client:
        blob = client.encrypt(b"data")
        assert client.rewrap(blob, refresh=True) == blob
        assert rewrap_calls(client) == {"ReEncrypt": 1}
        kms.call("EnableKeyRotation", {"KeyId": key_id})
        kms.call("RotateKey", {"KeyId": key_id})
        assert client.rewrap(blob) == blob
        again = EnvelopeClient(kms.key(key_id)).rewrap(blob, refresh=True)
        assert keys_of(again) == [key_id]
        assert again != blob
        assert client.decrypt(again) == b"data"


# What is proved before anything is given out.


def test_a_wrong_aad_is_refused_and_an_unknown_one_is_not_needed(
    kms: LocalKms, client: EnvelopeClient
) -> None:
    blob = client.encrypt(b"data", aad=b"row 7")
    for wrong in (b"", b"row 8"):
        with pytest.raises(AuthenticationError, match="aad=None"):
            client.rewrap(blob, [kms.key("b")], aad=wrong)
    moved = client.rewrap(blob, [kms.key("b")], aad=None)
    assert opens(moved, kms.key("b"), aad=b"row 7") == b"data"


def test_a_damaged_commitment_or_a_foreign_header_is_refused(kms: LocalKms) -> None:
    with EnvelopeClient(kms.key("a"), cache=CACHELESS) as client:
        one, two = client.encrypt(b"one"), client.encrypt(b"two")
        size = decode_header(one)[1]
        damaged = bytearray(one)
        damaged[size + 30] ^= 1
        for blob in (bytes(damaged), two[:size] + one[size:]):
            with pytest.raises(AuthenticationError, match="not re-wrapped"):
                client.rewrap(blob, [kms.key("b")])


class Mistaken(MasterKey):
    """A key whose KMS gives another DEK back than it was given: ``wrapped`` replaces what it wraps."""

    wrapped: str

    def rewrap(self, recipient: Recipient, context_json: str | None) -> Recipient:
        made = super().rewrap(recipient, context_json)
        return Recipient(made.kms, made.key_id, self.wrapped, made.region)

    def wrap(self, dek: Any, context_json: str | None) -> Recipient:
        made = super().wrap(dek, context_json)
        return Recipient(made.kms, made.key_id, self.wrapped, made.region)


@pytest.mark.parametrize("aad", [b"", None])
def test_a_kms_that_wraps_another_dek_is_found_out(
    kms: LocalKms, elsewhere: LocalKms, client: EnvelopeClient, aad: bytes | None
) -> None:
    blob = client.encrypt(b"data")
    for place, alias in ((kms, "b"), (elsewhere, "far")):
        wrong = Mistaken(place, alias)
        wrong.wrapped = place.key(alias).wrap(os.urandom(32), None).wrapped
        with pytest.raises(AuthenticationError):
            client.rewrap(blob, [wrong], aad=aad)
        with pytest.raises(AuthenticationError):
            client.rewrap(blob, [kms.key("c"), wrong], aad=aad)
        wrong.wrapped = "nonsense"
        with pytest.raises(NoUsableKey):
            client.rewrap(blob, [wrong], aad=aad)


def test_a_key_that_stays_must_be_seen_to_open_when_no_new_one_comes(kms: LocalKms) -> None:
    with EnvelopeClient(kms.key("a"), kms.key("b")) as both:
        header = inspect(blob := both.encrypt(b"data"))
    damaged = Recipient(header.recipients[1].kms, header.recipients[1].key_id, "damaged")
    body = blob[decode_header(blob)[1] :]
    bad = Header(header.suite, (header.recipients[0], damaged), None).encode() + body
    with EnvelopeClient(kms.key("a")) as client:
        with pytest.raises(NoUsableKey, match="no key that would be left is seen to open"):
            client.rewrap(blob, remove=[kms.key("a")])  # b is not this client's to try
    with EnvelopeClient(kms.key("a"), kms.key("b")) as client:
        assert keys_of(client.rewrap(blob, remove=[kms.key("a")])) == [kms.key("b").key_id]
        with pytest.raises(NoUsableKey, match="no key that would be left is seen to open"):
            client.rewrap(bad, remove=[kms.key("a")])
        assert keys_of(client.rewrap(bad, remove=[kms.key("b")])) == [kms.key("a").key_id]


# Bad input.


def test_a_client_that_cannot_open_it_is_told_why(kms: LocalKms, client: EnvelopeClient) -> None:
    blob = client.encrypt(b"data")
    with EnvelopeClient(kms.key("c")) as other:
        with pytest.raises(NoUsableKey, match="no key of this client"):
            other.rewrap(blob, [kms.key("b")])
        with pytest.raises(NoUsableKey, match="no key of this client"):
            other.rewrap(blob, [kms.key("b")], verify=False)
        assert rewrap_calls(other) == {}
    with EnvelopeClient(kms.public_key("rsa")) as public:
        with pytest.raises(NoUsableKey, match="a client of public keys can only encrypt"):
            public.rewrap(blob, [kms.key("b")])


def test_a_new_key_that_cannot_be_used_fails_with_its_own_error(
    kms: LocalKms, client: EnvelopeClient
) -> None:
    blob = client.encrypt(b"data")
    key_id = kms.create_key("disabled")
    kms.call("DisableKey", {"KeyId": key_id})
    with pytest.raises(KeyUnavailable, match="CmkDisabled"):
        client.rewrap(blob, [kms.key(key_id)])
    with pytest.raises(KeyUnavailable, match="no key in local has the alias"):
        client.rewrap(blob, [kms.key("missing")])
    with pytest.raises(KmsError, match="InvalidKeyUsage"):
        client.rewrap(blob, [kms.key("rsa")])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"keys": []}, ValueError, "at least one key"),
        ({"keys": ["a"], "add": ["b"]}, ValueError, "either keys, or add and remove"),
        ({"keys": ["a", "a"]}, ValueError, "given twice"),
        ({"remove": ["a"]}, ValueError, "no key would be left"),
        ({"keys": [7]}, TypeError, "int is not a key"),
        ({"keys": ["kms"]}, TypeError, "local can open envelopes but not be a recipient"),
        ({"remove": [7]}, TypeError, "int is not a key, key id or address"),
    ],
)
def test_changes_that_make_no_sense_are_refused(
    kms: LocalKms, client: EnvelopeClient, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    def made(name: Any) -> Any:
        return kms if name == "kms" else kms.key(name) if isinstance(name, str) else name

    blob = client.encrypt(b"data")
    with pytest.raises(error, match=says):
        client.rewrap(blob, **{kind: [made(name) for name in names] for kind, names in arguments.items()})
    with pytest.raises(TypeError, match="not one str"):
        client.rewrap(blob, remove="a")


def test_more_than_sixteen_keys_are_refused_before_any_call(kms: LocalKms, client: EnvelopeClient) -> None:
    hybrids = [PrivateKey.generate_hybrid().public_key for _ in range(16)]
    with pytest.raises(ValueError, match="at most 16"):
        client.rewrap(client.encrypt(b"data"), add=hybrids)
    assert rewrap_calls(client) == {}


def test_what_is_no_envelope_or_half_of_one_is_refused(kms: LocalKms, client: EnvelopeClient) -> None:
    blob = client.encrypt(b"data")
    size = decode_header(blob)[1]
    with pytest.raises(FormatError):
        client.rewrap(b"something else", [kms.key("b")])
    for cut in (size, size + 10, size + 56, size + 71):
        with pytest.raises(TruncatedError):
            client.rewrap(blob[:cut], [kms.key("b")])
    with pytest.raises(TypeError, match="bytes-like"):
        client.rewrap("text", [kms.key("b")])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="header_room"):
        client.rewrap(blob, [kms.key("b")], header_room=70_000)


def test_keys_to_remove_may_be_named_by_id_or_address_without_their_kms(kms: LocalKms) -> None:
    with EnvelopeClient(kms.key("a"), kms.key("b"), kms.key("c")) as client:
        blob = client.encrypt(b"data")
        b, c = kms.key("b").key_id, kms.key("c").key_id
        assert keys_of(client.rewrap(blob, remove=[b, f"local:{c}"])) == [kms.key("a").key_id]
        assert client.needs_rewrap(inspect(blob), remove=[b])
        assert not client.needs_rewrap(inspect(blob), remove=["somebody"])


def test_a_closed_client_re_wraps_no_more_and_a_pickled_one_does(tmp_path: Any) -> None:
    with LocalKms(tmp_path / "keys.db") as kms:
        kms.create_key("a")
        kms.create_key("b")
        client = EnvelopeClient(kms.key("a"), require_all=False)
        blob = client.encrypt(b"data")
        client.rewrap(blob, [kms.key("b")])
        with pickle.loads(pickle.dumps(client)) as copy:
            assert opens(copy.rewrap(blob, [kms.key("b")]), kms.key("b")) == b"data"
            copy._keys[0].kms.close()
        client.close()
        with pytest.raises(ValueError, match="closed"):
            client.rewrap(blob, [kms.key("b")])


def test_no_dek_is_kept_once_a_re_wrap_is_closed(kms: LocalKms, client: EnvelopeClient) -> None:
    blob = client.encrypt(b"data")
    rewrap = Rewrap(KeySet([kms.key("a")]), Change([kms.key("b")]))
    header, size = decode_header(blob)
    rewrap.recipients(header, blob[size : size + 56], b"")
    held = [cache.stats()["held"]["decrypt"] for cache in (rewrap._reading, rewrap._proving)]
    assert held == [0, 1]
    rewrap.close()
    assert [cache.stats()["held"]["decrypt"] for cache in (rewrap._reading, rewrap._proving)] == [0, 0]
