"""BYOK: parameters, tokens, import, expiry, deletion, re-import."""

from __future__ import annotations

import base64
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kmsenvelope.emulator.clock import MovableClock
from kmsenvelope.emulator.engine import Engine, EngineError, Policy
from kmsenvelope.emulator.store import Store

START = 1_800_000_000
DAY = 24 * 3600
PADDINGS = {
    "RSAES_PKCS1_V1_5": padding.PKCS1v15(),
    "RSAES_OAEP_SHA_1": padding.OAEP(padding.MGF1(SHA1()), SHA1(), None),
    "RSAES_OAEP_SHA_256": padding.OAEP(padding.MGF1(SHA256()), SHA256(), None),
}
MATERIAL = os.urandom(32)


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
    return engine.call("CreateKey", {"Alias": "own", "Type": 2})["KeyId"]


def code(engine: Engine, action: str, **params: object) -> str:
    with pytest.raises(EngineError) as caught:
        engine.call(action, params)
    return caught.value.code


def parameters(engine: Engine, key_id: str, algorithm: str = "RSAES_OAEP_SHA_256") -> dict[str, str]:
    wanted = {"KeyId": key_id, "WrappingAlgorithm": algorithm, "WrappingKeySpec": "RSA_2048"}
    return engine.call("GetParametersForImport", wanted)


def wrapped(
    params: dict[str, str], material: bytes = MATERIAL, algorithm: str = "RSAES_OAEP_SHA_256"
) -> dict[str, str]:
    public = load_der_public_key(base64.b64decode(params["PublicKey"]))
    sealed = base64.b64encode(public.encrypt(material, PADDINGS[algorithm])).decode()
    return {
        "KeyId": params["KeyId"],
        "ImportToken": params["ImportToken"],
        "EncryptedKeyMaterial": sealed,
    }


def bring_in(engine: Engine, key_id: str, material: bytes = MATERIAL, **extra: object) -> None:
    engine.call("ImportKeyMaterial", wrapped(parameters(engine, key_id), material) | extra)


def metadata(engine: Engine, key_id: str) -> dict[str, object]:
    return engine.call("DescribeKey", {"KeyId": key_id})["KeyMetadata"]


@pytest.mark.parametrize("algorithm", PADDINGS)
def test_import_with_every_wrapping_algorithm(engine, key_id, algorithm):
    assert metadata(engine, key_id)["KeyState"] == "PendingImport"
    assert metadata(engine, key_id)["Origin"] == "EXTERNAL"
    params = parameters(engine, key_id, algorithm)
    assert params["ParametersValidTo"] == START + DAY
    assert len(base64.b64decode(params["ImportToken"])) == 96
    engine.call("ImportKeyMaterial", wrapped(params, algorithm=algorithm))
    assert metadata(engine, key_id)["KeyState"] == "Enabled"
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
    assert engine.call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == "YQ=="


def test_a_token_is_valid_for_24_hours_and_reusable(engine, clock, key_id):
    request = wrapped(parameters(engine, key_id))
    clock.advance(DAY - 1)
    engine.call("ImportKeyMaterial", request)
    engine.call("ImportKeyMaterial", request)
    clock.advance(1)
    assert code(engine, "ImportKeyMaterial", **request) == "ResourceUnavailable.TokenExpired"


def test_a_later_token_supersedes_an_earlier_one_unless_the_policy_says_otherwise(engine, clock, key_id):
    first = wrapped(parameters(engine, key_id))
    second = wrapped(parameters(engine, key_id))
    assert code(engine, "ImportKeyMaterial", **first) == "ResourceUnavailable.TokenExpired"
    engine.call("ImportKeyMaterial", second)
    lenient = Engine(engine.store, clock=clock, policy=Policy(import_supersession=False))
    first = wrapped(parameters(lenient, key_id))
    second = wrapped(parameters(lenient, key_id))
    lenient.call("ImportKeyMaterial", first)
    lenient.call("ImportKeyMaterial", second)


def test_tokens_of_other_keys_do_not_supersede_or_fit(engine, key_id):
    other = engine.call("CreateKey", {"Alias": "other", "Type": 2})["KeyId"]
    request = wrapped(parameters(engine, key_id))
    of_other = wrapped(parameters(engine, other))
    assert code(engine, "ImportKeyMaterial", **(of_other | {"KeyId": key_id})) == "InvalidParameter"
    for made_up in ("x", "", "\ud800", "A" * 128):
        assert code(engine, "ImportKeyMaterial", **(request | {"ImportToken": made_up})) == "InvalidParameter"
    engine.call("ImportKeyMaterial", request)


@pytest.mark.parametrize(("sm", "size", "kind"), [(False, 32, 2), (True, 16, 4)])
def test_material_has_the_size_of_the_region(clock, sm, size, kind):
    policy = Policy(sm_regions=frozenset({"ap-shanghai"}) if sm else frozenset())
    with Store() as store:
        engine = Engine(store, clock=clock, region="ap-shanghai", policy=policy)
        key_id = engine.call("CreateKey", {"Alias": "own", "Type": 2})["KeyId"]
        assert metadata(engine, key_id)["Type"] == kind
        for wrong in (0, size - 1, size + 1, 48 - size):
            request = wrapped(parameters(engine, key_id), bytes(wrong))
            assert code(engine, "ImportKeyMaterial", **request) == "InvalidParameter.DecryptMaterialError"
        bring_in(engine, key_id, bytes(size))
        blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
        assert engine.call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == "YQ=="


def test_material_wrapped_otherwise_is_refused(engine, key_id):
    params = parameters(engine, key_id)
    other_padding = wrapped(params, algorithm="RSAES_OAEP_SHA_1")
    assert code(engine, "ImportKeyMaterial", **other_padding) == "InvalidParameter.DecryptMaterialError"
    garbage = wrapped(params) | {"EncryptedKeyMaterial": base64.b64encode(os.urandom(256)).decode()}
    assert code(engine, "ImportKeyMaterial", **garbage) == "InvalidParameter.DecryptMaterialError"
    short = wrapped(params) | {"EncryptedKeyMaterial": "YQ=="}
    assert code(engine, "ImportKeyMaterial", **short) == "InvalidParameter.DecryptMaterialError"
    assert metadata(engine, key_id)["KeyState"] == "PendingImport"


def test_only_the_same_material_ever_again(engine, key_id):
    bring_in(engine, key_id)
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
    for delete_first in (False, True):
        if delete_first:
            engine.call("DeleteImportedKeyMaterial", {"KeyId": key_id})
            assert metadata(engine, key_id)["KeyState"] == "PendingImport"
            assert code(engine, "Decrypt", CiphertextBlob=blob) == "ResourceUnavailable.CmkDisabled"
        request = wrapped(parameters(engine, key_id), os.urandom(32))
        assert code(engine, "ImportKeyMaterial", **request) == "InvalidParameterValue.MaterialNotMatch"
    bring_in(engine, key_id)
    assert engine.call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == "YQ=="


def test_material_expires_at_valid_to(engine, clock, key_id):
    bring_in(engine, key_id, ValidTo=START + 100)
    assert metadata(engine, key_id)["ValidTo"] == START + 100
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
    clock.advance(99)
    assert metadata(engine, key_id)["KeyState"] == "Enabled"
    clock.advance(1)
    assert metadata(engine, key_id)["KeyState"] == "PendingImport"
    bring_in(engine, key_id, ValidTo=0)
    clock.advance(days=3650)
    assert engine.call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == "YQ=="


def test_material_that_expires_late_is_not_rotated(engine, clock, key_id):
    bring_in(engine, key_id, ValidTo=START + 400 * DAY)
    blob = engine.call("Encrypt", {"KeyId": key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
    clock.advance(days=400)
    assert metadata(engine, key_id)["KeyState"] == "PendingImport"
    bring_in(engine, key_id)
    assert engine.call("Decrypt", {"CiphertextBlob": blob})["Plaintext"] == "YQ=="


def test_importing_again_changes_the_expiry(engine, clock, key_id):
    bring_in(engine, key_id, ValidTo=START + 100)
    bring_in(engine, key_id, ValidTo=START + 1000)
    clock.advance(500)
    assert metadata(engine, key_id)["KeyState"] == "Enabled"
    engine.call("BindCloudResource", {"KeyId": key_id, "ProductId": "ssm", "ResourceId": "r"})
    clock.advance(5000)
    assert metadata(engine, key_id)["KeyState"] == "Enabled"


@pytest.mark.parametrize("valid_to", [START, 1, 2147443201])
def test_bad_expiry(engine, key_id, valid_to):
    request = wrapped(parameters(engine, key_id)) | {"ValidTo": valid_to}
    assert code(engine, "ImportKeyMaterial", **request) == "InvalidParameter"


def test_deleted_and_expired_material_leaves_the_file(tmp_path, clock):
    with Store(tmp_path / "k.db") as store:
        engine = Engine(store, clock=clock)
        key_id = engine.call("CreateKey", {"Alias": "own", "Type": 2})["KeyId"]
        bring_in(engine, key_id)
        engine.call("DeleteImportedKeyMaterial", {"KeyId": key_id})
    assert MATERIAL not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_keys_of_kms_material_take_no_import(engine):
    key_id = engine.call("CreateKey", {"Alias": "made"})["KeyId"]
    wanted = {"KeyId": key_id, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
    expected = "UnsupportedOperation.NotExternalCmk"
    assert code(engine, "GetParametersForImport", **wanted) == expected
    request = {"KeyId": key_id, "EncryptedKeyMaterial": "YQ==", "ImportToken": "x"}
    assert code(engine, "ImportKeyMaterial", **request) == expected
    assert code(engine, "DeleteImportedKeyMaterial", KeyId=key_id) == expected


def test_only_symmetric_keys_are_external(engine):
    usage = "ASYMMETRIC_DECRYPT_RSA_2048"
    assert code(engine, "CreateKey", Alias="x", Type=2, KeyUsage=usage) == "InvalidParameterValue.InvalidType"
    assert code(engine, "CreateKey", Alias="x", Type=3) == "InvalidParameterValue.InvalidType"
