"""What depends on time and on products: deletion, rotation, bindings, lists of states."""

from __future__ import annotations

import pytest

from kmsenvelope import LocalKms
from kmsenvelope.emulator.clock import MovableClock
from kmsenvelope.emulator.engine import Engine, EngineError, Policy
from kmsenvelope.emulator.store import Store

START = 1_800_000_000
DAY = 24 * 3600


@pytest.fixture
def clock():
    clock = MovableClock()
    clock.freeze()
    clock.set(START)
    return clock


@pytest.fixture
def engine(clock):
    with Store() as store:
        yield Engine(store, clock=clock)


@pytest.fixture
def key_id(engine):
    return engine.call("CreateKey", {"Alias": "demo"})["KeyId"]


def code(engine: Engine, action: str, **params: object) -> str:
    with pytest.raises(EngineError) as caught:
        engine.call(action, params)
    return caught.value.code


def state(engine: Engine, key_id: str) -> str:
    return engine.call("DescribeKey", {"KeyId": key_id})["KeyMetadata"]["KeyState"]


def blob_of(engine: Engine, key_id: str) -> str:
    return engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]


def schedule(engine: Engine, key_id: str, days: object = 7) -> int:
    engine.call("DisableKey", {"KeyId": key_id})
    return engine.call("ScheduleKeyDeletion", {"KeyId": key_id, "PendingWindowInDays": days})["DeletionDate"]


@pytest.mark.parametrize("days", [7, 30, "7"])
def test_a_key_is_deleted_after_its_waiting_period_and_not_before(engine, clock, key_id, days):
    blob = blob_of(engine, key_id)
    assert schedule(engine, key_id, days) == START + int(days) * DAY
    clock.set(START + int(days) * DAY - 1)
    assert state(engine, key_id) == "PendingDelete"
    clock.advance(1)
    assert code(engine, "DescribeKey", KeyId=key_id) == "ResourceUnavailable.CmkNotFound"
    assert code(engine, "Decrypt", CiphertextBlob=blob) == "ResourceUnavailable.CmkNotFound"
    engine.call("CreateKey", {"Alias": "demo"})


@pytest.mark.parametrize("days", [0, 6, 31])
def test_waiting_periods_are_7_to_30_days(engine, key_id, days):
    engine.call("DisableKey", {"KeyId": key_id})
    expected = "InvalidParameter.InvalidPendingWindowInDays"
    assert code(engine, "ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=days) == expected


def test_a_cancelled_deletion_leaves_a_disabled_key(engine, clock, key_id):
    blob = blob_of(engine, key_id)
    schedule(engine, key_id)
    engine.call("CancelKeyDeletion", {"KeyId": key_id})
    clock.advance(days=60)
    assert state(engine, key_id) == "Disabled"
    assert engine.call("DescribeKey", {"KeyId": key_id})["KeyMetadata"]["DeletionDate"] == 0
    engine.call("EnableKey", {"KeyId": key_id})
    assert engine.call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == "YQ=="


def test_a_cancelled_deletion_of_an_empty_key_leaves_it_empty(engine):
    key_id = engine.call("CreateKey", {"Alias": "empty", "Type": 2})["KeyId"]
    engine.call("ScheduleKeyDeletion", {"KeyId": key_id, "PendingWindowInDays": 7})
    engine.call("CancelKeyDeletion", {"KeyId": key_id})
    assert state(engine, key_id) == "PendingImport"


def test_lists_leave_out_what_is_being_deleted_or_archived(engine):
    ids = [engine.call("CreateKey", {"Alias": f"k{n}"})["KeyId"] for n in range(4)]
    schedule(engine, ids[0])
    engine.call("ArchiveKey", {"KeyId": ids[1]})
    engine.call("DisableKey", {"KeyId": ids[2]})
    listed = [each["KeyId"] for each in engine.call("ListKeys", {})["Keys"]]
    assert listed == [ids[3], ids[2]]
    assert engine.call("ListKeyDetail", {})["TotalCount"] == 4
    assert engine.call("GetServiceStatus", {})["CmkUserCount"] == 3


def test_keys_pending_deletion_do_not_count_against_the_limit(clock):
    with Store() as store:
        engine = Engine(store, clock=clock, policy=Policy(cmk_limit=1))
        schedule(engine, engine.call("CreateKey", {"Alias": "a"})["KeyId"])
        assert engine.call("CreateKey", {"Alias": "b"})["KeyState"] == "Enabled"
        assert code(engine, "CreateKey", Alias="c") == "LimitExceeded.CmkLimitExceeded"


def test_rotation_makes_new_blobs_under_new_material_and_opens_old_ones(engine, key_id):
    old = blob_of(engine, key_id)
    assert code(engine, "RotateKey", KeyId=key_id) == "UnsupportedOperation.RotateNotSupported"
    engine.call("EnableKeyRotation", {"KeyId": key_id})
    assert engine.call("GetKeyRotationStatus", {"KeyId": key_id}) == {"KeyRotationEnabled": True}
    assert engine.call("RotateKey", {"KeyId": key_id})["TaskId"]
    new = blob_of(engine, key_id)
    assert new.split("-k-")[0] != old.split("-k-")[0]
    for blob in (old, new):
        assert engine.call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == "YQ=="
    renewed = engine.call("ReEncrypt", {"CiphertextBlob": old})
    assert renewed["ReEncrypted"] is True
    assert renewed["CiphertextBlob"].split("-k-")[0] == new.split("-k-")[0]
    assert engine.call("ReEncrypt", {"CiphertextBlob": new})["ReEncrypted"] is False


def test_a_key_is_rotated_by_hand_once_in_24_hours(engine, clock, key_id):
    engine.call("EnableKeyRotation", {"KeyId": key_id})
    engine.call("RotateKey", {"KeyId": key_id})
    clock.advance(DAY - 1)
    assert code(engine, "RotateKey", KeyId=key_id) == "RequestLimitExceeded.RotateRateLimited"
    clock.advance(1)
    engine.call("RotateKey", {"KeyId": key_id})


@pytest.mark.parametrize("days", [7, 365])
def test_periodic_rotation_comes_when_it_is_due(engine, clock, key_id, days):
    old = blob_of(engine, key_id)
    engine.call("EnableKeyRotation", {"KeyId": key_id, "RotateDays": days})
    metadata = engine.call("DescribeKey", {"KeyId": key_id})["KeyMetadata"]
    assert metadata["NextRotateTime"] == START + days * DAY
    clock.advance(days=days)
    metadata = engine.call("DescribeKey", {"KeyId": key_id})["KeyMetadata"]
    assert metadata["LastRotateTime"] == START + days * DAY
    assert metadata["NextRotateTime"] == START + 2 * days * DAY
    assert blob_of(engine, key_id).split("-k-")[0] != old.split("-k-")[0]
    assert engine.call("Decrypt", {"CiphertextBlob": old})["Plaintext"] == "YQ=="


def test_disabled_rotation_does_not_come(engine, clock, key_id):
    old = blob_of(engine, key_id)
    engine.call("EnableKeyRotation", {"KeyId": key_id, "RotateDays": 7})
    engine.call("DisableKeyRotation", {"KeyId": key_id})
    clock.advance(days=30)
    assert blob_of(engine, key_id).split("-k-")[0] == old.split("-k-")[0]


def test_rotation_periods_are_7_to_365_days(engine, key_id):
    for days in (6, 366):
        assert code(engine, "EnableKeyRotation", KeyId=key_id, RotateDays=days) == "InvalidParameterValue"


def test_keys_that_cannot_rotate(engine):
    external = engine.call("CreateKey", {"Alias": "external", "Type": 2})["KeyId"]
    assert code(engine, "EnableKeyRotation", KeyId=external) == "UnsupportedOperation.ExternalCmkCanNotRotate"
    assert code(engine, "RotateKey", KeyId=external) == "UnsupportedOperation.RotateNotSupported"
    rsa = engine.call("CreateKey", {"Alias": "rsa", "KeyUsage": "ASYMMETRIC_DECRYPT_RSA_2048"})["KeyId"]
    assert code(engine, "EnableKeyRotation", KeyId=rsa) == "InvalidParameterValue.InvalidKeyUsage"


def test_rotation_may_take_its_time(clock):
    with Store() as store:
        engine = Engine(store, clock=clock, policy=Policy(rotation_seconds=60))
        key_id = engine.call("CreateKey", {"Alias": "demo"})["KeyId"]
        engine.call("EnableKeyRotation", {"KeyId": key_id})
        engine.call("RotateKey", {"KeyId": key_id})
        before = blob_of(engine, key_id)
        assert code(engine, "RotateKey", KeyId=key_id) == "FailedOperation.RotateTaskRunning"
        clock.advance(60)
        assert blob_of(engine, key_id).split("-k-")[0] != before.split("-k-")[0]


@pytest.mark.parametrize("action", ["DisableKey", "ArchiveKey", "DisableKeys"])
def test_a_key_in_use_by_a_product_stays(engine, key_id, action):
    binding = {"KeyId": key_id, "ProductId": "ssm", "ResourceId": "r"}
    engine.call("BindCloudResource", binding)
    engine.call("BindCloudResource", binding)
    params = {"KeyIds": [key_id]} if action == "DisableKeys" else {"KeyId": key_id}
    assert code(engine, action, **params) == "FailedOperation.CmkUsedByCloudProduct"
    engine.call("UnbindCloudResource", binding)
    engine.call(action, params)
    assert code(engine, "UnbindCloudResource", **binding) == (
        "ResourceUnavailable.CloudResourceBindingNotFound"
    )


def test_descriptions_are_at_most_1024_bytes(engine, key_id):
    engine.call("UpdateKeyDescription", {"KeyId": key_id, "Description": "é" * 512})
    assert code(engine, "UpdateKeyDescription", KeyId=key_id, Description="é" * 513) == "InvalidParameter"
    engine.call("UpdateKeyDescription", {"KeyId": key_id, "Description": ""})
    assert engine.call("DescribeKey", {"KeyId": key_id})["KeyMetadata"]["Description"] == ""


def test_time_acts_on_every_region_of_a_store(engine, clock, key_id):
    schedule(engine, key_id)
    clock.advance(days=8)
    elsewhere = Engine(engine.store, clock=clock, region="ap-shanghai")
    assert elsewhere.call("ListKeys", {})["TotalCount"] == 0
    assert code(engine, "DescribeKey", KeyId=key_id) == "ResourceUnavailable.CmkNotFound"


def test_rotation_that_comes_by_itself_keeps_to_the_region_of_the_key(clock):
    policy = Policy(sm_regions=frozenset({"ap-shanghai"}))
    with Store() as store:
        sm = Engine(store, clock=clock, region="ap-shanghai", policy=policy)
        key_id = sm.call("CreateKey", {"Alias": "demo"})["KeyId"]
        sm.call("EnableKeyRotation", {"KeyId": key_id, "RotateDays": 7})
        clock.advance(days=7)
        Engine(store, clock=clock, region="ap-hongkong", policy=policy).call("ListKeys", {})
        with store.transaction(write=False) as tx:
            assert len(tx.secret(key_id, "v2") or b"") == 16


def test_the_clock_moves_as_told():
    times = iter(range(100, 200))
    clock = MovableClock(lambda: next(times))
    assert [clock(), clock()] == [100, 101]
    clock.advance(10, hours=1, days=1)
    assert clock() == 102 + 10 + 3600 + DAY
    clock.freeze()
    now = clock()
    assert clock() == now
    clock.set(5)
    clock.advance(1)
    assert clock() == 6
    clock.run()
    assert 6 <= clock() < 10


def test_a_local_store_has_no_limit_of_keys():
    with LocalKms() as kms:
        for number in range(201):
            kms.create_key(f"key-{number}")
        assert kms.call("ListKeys")["TotalCount"] == 201
