"""Data keys that the KMS hosts."""

from __future__ import annotations

import base64

import pytest

from kmsenvelope.emulator.clock import MovableClock
from kmsenvelope.emulator.engine import Engine, EngineError, Policy
from kmsenvelope.emulator.store import Store


def code(engine: Engine, action: str, **params: object) -> str:
    with pytest.raises(EngineError) as caught:
        engine.call(action, params)
    return caught.value.code


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def engine(clock):
    with Store() as store:
        yield Engine(store, clock=clock)


@pytest.fixture
def key_id(engine):
    return engine.call("CreateKey", {"Alias": "demo"})["KeyId"]


def host(engine: Engine, key_id: str, name: str = "dk", **extra: object) -> dict[str, str]:
    request = {"KeyId": key_id, "KeySpec": "AES_256", "IsHostedByKms": 1, "DataKeyName": name}
    return engine.call("GenerateDataKey", request | extra)


def state(engine: Engine, data_key_id: str) -> str:
    return engine.call("DescribeDataKey", {"DataKeyId": data_key_id})["DataKeyMetadata"]["KeyState"]


def test_a_hosted_data_key_comes_back_by_its_id_whatever_its_context(engine, key_id):
    made = host(engine, key_id, EncryptionContext='{"a":"1"}')
    found = {"DataKeyId": made["DataKeyId"]}
    assert engine.call("GetDataKeyPlaintext", found)["Plaintext"] == made["Plaintext"]
    assert engine.call("GetDataKeyCiphertextBlob", found)["CiphertextBlob"] == made["CiphertextBlob"]
    metadata = engine.call("DescribeDataKey", found)["DataKeyMetadata"]
    assert (metadata["DataKeyName"], metadata["NumberOfBytes"], metadata["KeyId"]) == ("dk", 32, key_id)


def test_import_of_a_wrapped_and_of_a_plain_data_key(engine, key_id):
    made = engine.call("GenerateDataKey", {"KeyId": key_id, "KeySpec": "AES_128"})
    one = engine.call(
        "ImportDataKey",
        {"DataKeyName": "one", "ImportKeyMaterial": made["CiphertextBlob"], "ImportType": 1},
    )
    two = engine.call(
        "ImportDataKey",
        {"DataKeyName": "two", "ImportKeyMaterial": made["Plaintext"], "ImportType": 2, "KeyId": key_id},
    )
    for each in (one, two):
        got = engine.call("GetDataKeyPlaintext", {"DataKeyId": each["DataKeyId"]})
        assert got["Plaintext"] == made["Plaintext"]
        blob = engine.call("GetDataKeyCiphertextBlob", {"DataKeyId": each["DataKeyId"]})["CiphertextBlob"]
        assert engine.call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == made["Plaintext"]


def test_imports_are_checked(engine, key_id):
    other = engine.call("CreateKey", {"Alias": "other"})["KeyId"]
    blob = engine.call("GenerateDataKey", {"KeyId": key_id, "KeySpec": "AES_128"})["CiphertextBlob"]
    base = {"DataKeyName": "x"}
    wrapped = base | {"ImportType": 1, "ImportKeyMaterial": blob}
    assert code(engine, "ImportDataKey", **wrapped, KeyId=other) == "InvalidParameterValue.InvalidKeyId"
    plain = base | {"ImportType": 2, "ImportKeyMaterial": "YQ=="}
    assert code(engine, "ImportDataKey", **plain) == "InvalidParameterValue.InvalidKeyId"
    for bad in ("!", "", base64.b64encode(bytes(1025)).decode()):
        request = plain | {"KeyId": key_id, "ImportKeyMaterial": bad}
        assert code(engine, "ImportDataKey", **request) == "InvalidParameterValue.InvalidImportKeyMaterial"
    assert code(engine, "ImportDataKey", **(plain | {"ImportType": 3})) == "InvalidParameterValue.InvalidType"


def test_names_and_numbers_are_limited(engine, key_id):
    host(engine, key_id)
    request = {"KeyId": key_id, "KeySpec": "AES_256", "IsHostedByKms": 1}
    assert code(engine, "GenerateDataKey", **request) == "InvalidParameterValue.InvalidDataKeyName"
    assert code(engine, "GenerateDataKey", **request, DataKeyName="dk") == (
        "InvalidParameterValue.DataKeyNameAlreadyExists"
    )
    small = Engine(engine.store, policy=Policy(data_key_limit=1))
    assert code(small, "GenerateDataKey", **request, DataKeyName="next") == (
        "LimitExceeded.DataKeyLimitExceeded"
    )


def test_life_of_a_hosted_data_key(engine, clock, key_id):
    found = {"DataKeyId": host(engine, key_id)["DataKeyId"]}
    window = found | {"PendingWindowInDays": 7}
    assert code(engine, "ScheduleDataKeyDeletion", **window) == "ResourceUnavailable.DataKeyStateNotSupport"
    engine.call("DisableDataKey", found)
    assert code(engine, "GetDataKeyPlaintext", **found) == "ResourceUnavailable.DataKeyDisabled"
    engine.call("EnableDataKeys", {"DataKeyIds": [found["DataKeyId"]]})
    engine.call("DisableDataKeys", {"DataKeyIds": [found["DataKeyId"]]})
    assert code(engine, "CancelDataKeyDeletion", **found) == "ResourceUnavailable.DataKeyNotPendingDelete"
    engine.call("ScheduleDataKeyDeletion", window)
    assert code(engine, "GetDataKeyPlaintext", **found) == "ResourceUnavailable.DataKeyPendingDelete"
    engine.call("CancelDataKeyDeletion", found)
    assert state(engine, found["DataKeyId"]) == "Disabled"
    engine.call("ScheduleDataKeyDeletion", window)
    clock.advance(days=7, seconds=1)
    assert code(engine, "DescribeDataKey", **found) == "ResourceUnavailable.DataKeyNotFound"


def test_a_disabled_cmk_takes_its_data_keys_with_it(engine, key_id):
    found = {"DataKeyId": host(engine, key_id)["DataKeyId"]}
    engine.call("DisableKey", {"KeyId": key_id})
    assert code(engine, "GetDataKeyPlaintext", **found) == "ResourceUnavailable.CmkDisabled"


def test_lists_and_updates(engine, key_id):
    ids = [host(engine, key_id, f"dk{n}", NumberOfBytes=n + 1)["DataKeyId"] for n in range(3)]
    assert [each["DataKeyId"] for each in engine.call("ListDataKeys", {})["DataKeys"]] == ids[::-1]
    engine.call("UpdateDataKeyName", {"DataKeyId": ids[0], "DataKeyName": "renamed"})
    engine.call("UpdateDataKeyDescription", {"DataKeyId": ids[0], "Description": "first"})
    assert code(engine, "UpdateDataKeyName", DataKeyId=ids[1], DataKeyName="renamed") == (
        "InvalidParameterValue.DataKeyNameAlreadyExists"
    )

    def found(**filters: object) -> list[str]:
        answer = engine.call("ListDataKeyDetail", {"OrderType": 1} | filters)
        return [each["DataKeyName"] for each in answer["DataKeyMetadatas"]]

    assert found() == ["renamed", "dk1", "dk2"]
    assert found(SearchKeyAlias="dk") == ["dk1", "dk2"]
    assert found(DataKeyLen=2) == ["dk1"]
    assert found(KeyId=key_id, Limit=1, Offset=2) == ["dk2"]
    described = engine.call("DescribeDataKeys", {"DataKeyIds": ids})["DataKeyMetadatas"]
    assert described[0]["Description"] == "first"
    assert code(engine, "DescribeDataKeys", DataKeyIds=[ids[0]] * 2) == (
        "InvalidParameterValue.DuplicatedDataKeyId"
    )
    assert code(engine, "DescribeDataKey", DataKeyId="x") == "InvalidParameterValue.InvalidDataKeyId"
