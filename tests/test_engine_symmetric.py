"""The engine's symmetric core: life of a CMK, data keys, small secrets, re-encryption, field checks."""

from __future__ import annotations

import base64
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmsenvelope.emulator.engine import Engine, EngineError, Policy
from kmsenvelope.emulator.store import Store

UNKNOWN_ID = "00000000-0000-1000-8000-000000000000"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def code(engine: Engine, action: str, **params: object) -> str:
    with pytest.raises(EngineError) as caught:
        engine.call(action, params)
    return caught.value.code


@pytest.fixture
def engine():
    with Store() as store:
        yield Engine(store)


@pytest.fixture
def key_id(engine):
    return engine.call("CreateKey", {"Alias": "demo"})["KeyId"]


def test_a_new_key_is_enabled_and_described(engine):
    made = engine.call("CreateKey", {"Alias": "demo", "Description": "for tests"})
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", made["KeyId"])
    assert made["KeyState"] == "Enabled"
    metadata = engine.call("DescribeKey", {"KeyId": made["KeyId"]})["KeyMetadata"]
    assert metadata["Alias"] == "demo"
    assert metadata["Description"] == "for tests"
    assert metadata["KeyUsage"] == "ENCRYPT_DECRYPT"
    assert metadata["Origin"] == "TENCENT_KMS"
    assert metadata["Type"] == 2
    assert metadata["CreateTime"] == made["CreateTime"]


@pytest.mark.parametrize("alias", ["a", "A1", "0-_z", "x" * 60, "kms", "kmsx-1"])
def test_good_aliases(engine, alias):
    assert engine.call("CreateKey", {"Alias": alias})["Alias"] == alias


@pytest.mark.parametrize("alias", ["", "-a", "_a", "a b", "a/b", "é", "x" * 61, "kms-mine", "a\n"])
def test_bad_aliases(engine, key_id, alias):
    assert code(engine, "CreateKey", Alias=alias) == "InvalidParameterValue.InvalidAlias"
    assert code(engine, "UpdateAlias", KeyId=key_id, Alias=alias) == "InvalidParameterValue.InvalidAlias"


def test_aliases_are_unique(engine, key_id):
    other = engine.call("CreateKey", {"Alias": "other"})["KeyId"]
    assert code(engine, "CreateKey", Alias="demo") == "InvalidParameterValue.AliasAlreadyExists"
    assert (
        code(engine, "UpdateAlias", KeyId=other, Alias="demo") == "InvalidParameterValue.AliasAlreadyExists"
    )
    engine.call("UpdateAlias", {"KeyId": key_id, "Alias": "renamed"})
    engine.call("UpdateAlias", {"KeyId": other, "Alias": "demo"})
    engine.call("UpdateAlias", {"KeyId": other, "Alias": "demo"})


@pytest.mark.parametrize(("spec", "size"), [("AES_128", 16), ("AES_256", 32)])
def test_data_keys_have_the_size_of_their_spec_and_decrypt(engine, key_id, spec, size):
    made = engine.call("GenerateDataKey", {"KeyId": key_id, "KeySpec": spec})
    assert len(base64.b64decode(made["Plaintext"])) == size
    opened = engine.call("Decrypt", {"CiphertextBlob": made["CiphertextBlob"]})
    assert opened == {"KeyId": key_id, "Plaintext": made["Plaintext"]}


@pytest.mark.parametrize("size", [1, 16, 1024])
def test_number_of_bytes_wins_over_key_spec(engine, key_id, size):
    made = engine.call("GenerateDataKey", {"KeyId": key_id, "NumberOfBytes": size, "KeySpec": "AES_256"})
    assert len(base64.b64decode(made["Plaintext"])) == size


def test_data_key_sizes_are_checked(engine, key_id):
    assert code(engine, "GenerateDataKey", KeyId=key_id) == "MissingParameter"
    assert code(engine, "GenerateDataKey", KeyId=key_id, KeySpec="SM4") == "InvalidParameter"
    for size in (0, 1025, -1, 16.0, "x", True):
        assert code(engine, "GenerateDataKey", KeyId=key_id, NumberOfBytes=size) == "InvalidParameter"
        assert code(engine, "GenerateRandom", NumberOfBytes=size) == "InvalidParameter"


def test_data_keys_differ(engine, key_id):
    made = [engine.call("GenerateDataKey", {"KeyId": key_id, "KeySpec": "AES_256"}) for _ in range(2)]
    assert made[0]["Plaintext"] != made[1]["Plaintext"]
    assert made[0]["CiphertextBlob"] != made[1]["CiphertextBlob"]


@settings(max_examples=50, deadline=None)
@given(
    plaintext=st.binary(max_size=4096),
    context=st.none() | st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=4),
)
def test_what_is_encrypted_decrypts_under_the_same_context_only(plaintext, context):
    with Store() as store:
        engine = Engine(store)
        key_id = engine.call("CreateKey", {"Alias": "demo"})["KeyId"]
        given_context = {} if context is None else {"EncryptionContext": json.dumps(context)}
        blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": b64(plaintext)} | given_context)
        opened = engine.call("Decrypt", {"CiphertextBlob": blob["CiphertextBlob"]} | given_context)
        assert base64.b64decode(opened["Plaintext"]) == plaintext
        other = {"CiphertextBlob": blob["CiphertextBlob"], "EncryptionContext": '{"another": "one"}'}
        assert code(engine, "Decrypt", **other) == "InvalidParameterValue.InvalidCiphertext"


def test_plaintext_limits(engine, key_id):
    engine.call("Encrypt", {"KeyId": key_id, "Plaintext": b64(bytes(4096))})
    engine.call("Encrypt", {"KeyId": key_id, "Plaintext": ""})
    for bad in (b64(bytes(4097)), "not base64!", "YQ"):
        assert (
            code(engine, "Encrypt", KeyId=key_id, Plaintext=bad) == "InvalidParameterValue.InvalidPlaintext"
        )


def test_blobs_look_like_the_service_s(engine, key_id):
    blobs = [
        engine.call("Encrypt", {"KeyId": key_id, "Plaintext": b64(b"x")})["CiphertextBlob"] for _ in range(2)
    ]
    first, second = (blob.split("-k-") for blob in blobs)
    assert [len(part) for part in first[:2]] == [88, 24]
    assert first[:2] == second[:2]
    assert first[2] != second[2]
    other = engine.call("CreateKey", {"Alias": "other"})["KeyId"]
    blob = engine.call("Encrypt", {"KeyId": other, "Plaintext": b64(b"x")})["CiphertextBlob"]
    assert blob.split("-k-")[0] != first[0]


def test_every_changed_character_makes_a_blob_invalid(engine, key_id):
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": b64(b"secret")})["CiphertextBlob"]
    for index, char in enumerate(blob):
        changed = blob[:index] + ("A" if char != "A" else "B") + blob[index + 1 :]
        assert code(engine, "Decrypt", CiphertextBlob=changed) == "InvalidParameterValue.InvalidCiphertext"
    for cut in range(0, len(blob), 7):
        assert code(engine, "Decrypt", CiphertextBlob=blob[:cut]) == "InvalidParameterValue.InvalidCiphertext"


def test_other_base64_of_the_same_bytes_is_not_the_same_blob(engine, key_id):
    for size in range(3):
        blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": b64(bytes(size))})["CiphertextBlob"]
        if blob.endswith("="):
            index = len(blob.rstrip("=")) - 1
            other = blob[:index] + chr(ord(blob[index]) + 1) + blob[index + 1 :]
            assert base64.b64decode(other.split("-k-")[2]) == base64.b64decode(blob.split("-k-")[2])
            assert code(engine, "Decrypt", CiphertextBlob=other) == "InvalidParameterValue.InvalidCiphertext"


def test_a_blob_of_another_account_is_not_opened(engine, key_id):
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": b64(b"x")})["CiphertextBlob"]
    with Store() as store:
        assert code(Engine(store), "Decrypt", CiphertextBlob=blob) == "ResourceUnavailable.CmkNotFound"


def test_parts_of_two_keys_blobs_do_not_mix(engine, key_id):
    other = engine.call("CreateKey", {"Alias": "other"})["KeyId"]
    one, two = (
        engine.call("Encrypt", {"KeyId": each, "Plaintext": b64(b"x")})["CiphertextBlob"].split("-k-")
        for each in (key_id, other)
    )
    mixed = "-k-".join((one[0], one[1], two[2]))
    assert code(engine, "Decrypt", CiphertextBlob=mixed) == "InvalidParameterValue.InvalidCiphertext"


@pytest.mark.parametrize("context", ["x", "[]", '"a"', "{", "1", "[" * 1000])
def test_a_context_that_is_not_a_json_object_is_refused(engine, key_id, context):
    params = {"KeyId": key_id, "EncryptionContext": context}
    assert code(engine, "Encrypt", Plaintext="YQ==", **params) == "InvalidParameter"
    assert code(engine, "GenerateDataKey", KeySpec="AES_256", **params) == "InvalidParameter"


def test_context_is_at_most_1024_characters(engine, key_id):
    fits = json.dumps({"k": "v" * (1024 - 9)}, separators=(", ", ": "))
    assert len(fits) == 1024
    engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ==", "EncryptionContext": fits})
    assert (
        code(engine, "Encrypt", KeyId=key_id, Plaintext="YQ==", EncryptionContext=fits + " ")
        == "InvalidParameter"
    )


@pytest.mark.parametrize(("comparison", "opens"), [("exact", False), ("json", True)])
def test_how_contexts_compare_is_a_policy(comparison, opens):
    with Store() as store:
        engine = Engine(store, policy=Policy(context_comparison=comparison))
        key_id = engine.call("CreateKey", {"Alias": "demo"})["KeyId"]
        params = {"KeyId": key_id, "Plaintext": "YQ==", "EncryptionContext": '{"a":"1","b":"2"}'}
        blob = engine.call("Encrypt", params)["CiphertextBlob"]
        reordered = {"CiphertextBlob": blob, "EncryptionContext": '{"b": "2", "a": "1"}'}
        if opens:
            assert engine.call("Decrypt", reordered)["Plaintext"] == "YQ=="
        else:
            assert code(engine, "Decrypt", **reordered) == "InvalidParameterValue.InvalidCiphertext"


def test_empty_and_absent_context_are_the_same_by_default(engine, key_id):
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ==", "EncryptionContext": ""})
    assert engine.call("Decrypt", {"CiphertextBlob": blob["CiphertextBlob"]})["Plaintext"] == "YQ=="
    strict = Engine(engine.store, policy=Policy(empty_context_is_absent=False))
    blob = strict.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ==", "EncryptionContext": ""})
    with_empty = {"CiphertextBlob": blob["CiphertextBlob"], "EncryptionContext": ""}
    assert strict.call("Decrypt", with_empty)["Plaintext"] == "YQ=="
    assert code(strict, "Decrypt", CiphertextBlob=blob["CiphertextBlob"]) == (
        "InvalidParameterValue.InvalidCiphertext"
    )


def test_reencrypt_moves_a_blob_to_another_key_and_context(engine, key_id):
    other = engine.call("CreateKey", {"Alias": "other"})["KeyId"]
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ==", "EncryptionContext": '{"a":"1"}'})
    moved = engine.call(
        "ReEncrypt",
        {
            "CiphertextBlob": blob["CiphertextBlob"],
            "SourceEncryptionContext": '{"a":"1"}',
            "DestinationKeyId": other,
            "DestinationEncryptionContext": '{"b":"2"}',
        },
    )
    assert (moved["KeyId"], moved["SourceKeyId"], moved["ReEncrypted"]) == (other, key_id, True)
    opened = engine.call(
        "Decrypt", {"CiphertextBlob": moved["CiphertextBlob"], "EncryptionContext": '{"b":"2"}'}
    )
    assert opened == {"KeyId": other, "Plaintext": "YQ=="}


def test_reencrypt_without_need_returns_the_same_blob(engine, key_id):
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
    for target in ({}, {"DestinationKeyId": ""}, {"DestinationKeyId": key_id}):
        same = engine.call("ReEncrypt", {"CiphertextBlob": blob} | target)
        assert (same["CiphertextBlob"], same["ReEncrypted"]) == (blob, False)
    changed = {"CiphertextBlob": blob, "DestinationEncryptionContext": '{"b":"2"}'}
    assert engine.call("ReEncrypt", changed)["ReEncrypted"] is True
    literal = Engine(engine.store, policy=Policy(reencrypt_changed_context=False))
    assert literal.call("ReEncrypt", changed)["ReEncrypted"] is False


def test_reencrypt_checks_the_source_context(engine, key_id):
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ==", "EncryptionContext": '{"a":"1"}'})
    assert code(engine, "ReEncrypt", CiphertextBlob=blob["CiphertextBlob"]) == (
        "InvalidParameterValue.InvalidCiphertext"
    )


def test_disabled_keys_neither_encrypt_nor_decrypt(engine, key_id):
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
    engine.call("DisableKey", {"KeyId": key_id})
    disabled = "ResourceUnavailable.CmkDisabled"
    assert code(engine, "Encrypt", KeyId=key_id, Plaintext="YQ==") == disabled
    assert code(engine, "GenerateDataKey", KeyId=key_id, KeySpec="AES_256") == disabled
    assert code(engine, "Decrypt", CiphertextBlob=blob) == disabled
    assert code(engine, "ReEncrypt", CiphertextBlob=blob) == disabled
    engine.call("EnableKey", {"KeyId": key_id})
    assert engine.call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == "YQ=="


def test_batches_change_all_keys_or_none(engine):
    ids = [engine.call("CreateKey", {"Alias": f"k{n}"})["KeyId"] for n in range(3)]
    assert code(engine, "DisableKeys", KeyIds=[*ids, UNKNOWN_ID]) == "ResourceUnavailable.CmkNotFound"
    states = engine.call("DescribeKeys", {"KeyIds": ids})["KeyMetadatas"]
    assert {each["KeyState"] for each in states} == {"Enabled"}
    engine.call("DisableKeys", {"KeyIds": ids})
    states = engine.call("DescribeKeys", {"KeyIds": ids})["KeyMetadatas"]
    assert [(each["KeyId"], each["KeyState"]) for each in states] == [(each, "Disabled") for each in ids]
    engine.call("EnableKeys", {"KeyIds": ids})


@pytest.mark.parametrize("action", ["DescribeKeys", "EnableKeys", "DisableKeys"])
def test_batches_are_checked(engine, key_id, action):
    assert code(engine, action, KeyIds=[key_id, key_id]) == "InvalidParameterValue.DuplicatedKeyId"
    assert code(engine, action, KeyIds=["x"]) == "InvalidParameterValue.InvalidKeyId"
    assert code(engine, action, KeyIds=[]) == "InvalidParameter"
    assert code(engine, action, KeyIds=key_id) == "InvalidParameter"
    many = [f"00000000-0000-1000-8000-{n:012d}" for n in range(101)]
    assert code(engine, action, KeyIds=many) == "InvalidParameter"
    assert code(engine, action, KeyIds=[UNKNOWN_ID]) == "ResourceUnavailable.CmkNotFound"


@pytest.mark.parametrize(
    ("action", "extra"),
    [
        ("DescribeKey", {}),
        ("EnableKey", {}),
        ("DisableKey", {}),
        ("UpdateAlias", {"Alias": "x"}),
        ("Encrypt", {"Plaintext": "YQ=="}),
        ("GenerateDataKey", {"KeySpec": "AES_256"}),
    ],
)
def test_key_ids_are_checked(engine, action, extra):
    assert code(engine, action, **extra) == "MissingParameter"
    assert code(engine, action, KeyId=1, **extra) == "InvalidParameter"
    for bad in ("", "demo", UNKNOWN_ID.upper().replace("0", "A"), UNKNOWN_ID + "0"):
        assert code(engine, action, KeyId=bad, **extra) == "InvalidParameterValue.InvalidKeyId"
    assert code(engine, action, KeyId=UNKNOWN_ID, **extra) == "ResourceUnavailable.CmkNotFound"
    assert code(engine, action, KeyId=UNKNOWN_ID, Laintext="x", **extra) == "UnknownParameter"


def test_unknown_actions(engine):
    for action in ("", "describeKey", "Nope", "__init__"):
        assert code(engine, action) == "InvalidAction"


def test_null_counts_as_absent(engine, key_id):
    assert engine.call("DescribeKey", {"KeyId": key_id, "MemberAccount": None})["KeyMetadata"]
    assert code(engine, "DescribeKey", KeyId=None) == "MissingParameter"


def test_numbers_may_be_quoted_as_in_the_documented_examples(engine):
    assert len(base64.b64decode(engine.call("GenerateRandom", {"NumberOfBytes": "7"})["Plaintext"])) == 7


def test_lists_are_paged_newest_first(engine):
    ids = [engine.call("CreateKey", {"Alias": f"k{n}"})["KeyId"] for n in range(12)]
    listed = engine.call("ListKeys", {})
    assert listed["TotalCount"] == 12
    assert [each["KeyId"] for each in listed["Keys"]] == ids[:1:-1]
    rest = engine.call("ListKeys", {"Offset": 10, "Limit": 200})
    assert [each["KeyId"] for each in rest["Keys"]] == [ids[1], ids[0]]
    detail = engine.call("ListKeyDetail", {"OrderType": 1, "Limit": 3})
    assert [each["KeyId"] for each in detail["KeyMetadatas"]] == ids[:3]
    assert engine.call("ListKeys", {"Offset": 99})["Keys"] == []
    assert engine.call("ListKeys", {"Role": 1})["TotalCount"] == 0
    assert code(engine, "ListKeys", Limit=0) == "InvalidParameter"
    assert code(engine, "ListKeys", Limit=201) == "InvalidParameter"
    assert code(engine, "ListKeys", HsmClusterId="x") == "InvalidParameterValue.InvalidHsmClusterId"


def found(engine: Engine, **filters: object) -> list[str]:
    answer = engine.call("ListKeyDetail", {"OrderType": 1, **filters})
    assert answer["TotalCount"] == len(answer["KeyMetadatas"])
    return [each["Alias"] for each in answer["KeyMetadatas"]]


def test_key_detail_filters(engine):
    def tag(key: str, value: str) -> dict[str, str]:
        return {"TagKey": key, "TagValue": value}

    one = engine.call("CreateKey", {"Alias": "red-1", "Tags": [tag("env", "dev"), tag("team", "a")]})
    engine.call("CreateKey", {"Alias": "red-2", "Tags": [tag("env", "prod")]})
    engine.call("CreateKey", {"Alias": "blue", "Type": 2})
    engine.call("DisableKey", {"KeyId": one["KeyId"]})
    assert found(engine) == ["red-1", "red-2", "blue"]
    assert found(engine, SearchKeyAlias="red") == ["red-1", "red-2"]
    assert found(engine, SearchKeyAlias=one["KeyId"]) == ["red-1"]
    assert found(engine, KeyState=2) == ["red-1"]
    assert found(engine, KeyState=4) == ["blue"]
    assert found(engine, Origin="EXTERNAL") == ["blue"]
    assert found(engine, TagFilters=[{"TagKey": "env"}]) == ["red-1", "red-2"]
    assert found(engine, TagFilters=[{"TagKey": "env", "TagValue": ["dev", "x"]}]) == ["red-1"]
    assert found(engine, TagFilters=[{"TagKey": "env"}, {"TagKey": "team"}]) == ["red-1"]
    assert found(engine, TagFilters=[{"TagKey": "nope"}]) == []
    assert found(engine, KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048") == []


def test_tags_are_checked(engine):
    tag = {"TagKey": "a", "TagValue": "b"}
    assert code(engine, "CreateKey", Alias="x", Tags=[tag, tag]) == "InvalidParameterValue.TagKeysDuplicated"
    assert code(engine, "CreateKey", Alias="x", Tags=[{"TagKey": "a"}]) == "MissingParameter"
    assert code(engine, "CreateKey", Alias="x", Tags=[{**tag, "More": "x"}]) == "UnknownParameter"
    assert code(engine, "CreateKey", Alias="x", Tags=["a"]) == "InvalidParameter"


def test_the_number_of_keys_is_limited():
    with Store() as store:
        engine = Engine(store, policy=Policy(cmk_limit=2))
        engine.call("CreateKey", {"Alias": "a"})
        engine.call("CreateKey", {"Alias": "b"})
        assert code(engine, "CreateKey", Alias="c") == "LimitExceeded.CmkLimitExceeded"


def test_regions_share_a_store_but_not_their_keys(engine, key_id):
    elsewhere = Engine(engine.store, region="ap-shanghai")
    assert code(elsewhere, "DescribeKey", KeyId=key_id) == "ResourceUnavailable.CmkNotFound"
    assert elsewhere.call("ListKeys", {})["TotalCount"] == 0
    elsewhere.call("CreateKey", {"Alias": "demo"})
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
    assert code(elsewhere, "Decrypt", CiphertextBlob=blob) == "ResourceUnavailable.CmkNotFound"


def test_keys_survive_restart_under_a_passphrase(tmp_path):
    with Store(tmp_path / "k.db", "pw", scrypt_n=2**10) as store:
        engine = Engine(store)
        key_id = engine.call("CreateKey", {"Alias": "demo"})["KeyId"]
        blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
    with Store(tmp_path / "k.db", "pw") as store:
        assert Engine(store).call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == "YQ=="


def test_no_error_discloses_the_plaintext(engine, key_id):
    secret = b64(b"very secret" * 400)
    for params in ({"KeyId": key_id, "Plaintext": secret}, {"KeyId": "x", "Plaintext": secret}):
        with pytest.raises(EngineError) as caught:
            engine.call("Encrypt", params)
        assert secret[:20] not in str(caught.value) + repr(caught.value)
