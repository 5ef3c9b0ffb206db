"""The engine against the machine-readable API description that tccli carries, and the SDK's error codes."""

from __future__ import annotations

import base64
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.kms.v20190118 import errorcodes

from kmsenvelope.emulator import errors
from kmsenvelope.emulator.actions import ACTIONS
from kmsenvelope.emulator.engine import Engine
from kmsenvelope.emulator.fields import Field, ListOf, Struct, Uint
from kmsenvelope.emulator.store import Store

TCCLI = find_spec("tccli")
pytestmark = pytest.mark.skipif(TCCLI is None, reason="needs tccli (dev group)")


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    assert TCCLI is not None
    assert TCCLI.origin is not None
    path = Path(TCCLI.origin).parent / "services" / "kms" / "v20190118" / "api.json"
    return json.loads(path.read_text(encoding="utf-8"))


def members(api: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {member["name"]: member for member in api["objects"][name]["members"]}


def test_every_action_but_those_of_white_box_keys_is_there(api):
    documented = {name for name in api["actions"] if "WhiteBox" not in name}
    assert set(ACTIONS) == documented


@pytest.mark.parametrize("action", ACTIONS)
def test_fields_are_the_documented_ones(api, action):
    check_fields(api, ACTIONS[action].fields, members(api, f"{action}Request"))


def check_fields(api: dict[str, Any], fields: Any, documented: dict[str, dict[str, Any]]) -> None:
    assert set(fields) == set(documented)
    for name, field in fields.items():
        member = documented[name]
        assert field.required == member["required"], name
        assert kind(field) == member["type"], name
        item: Field = field.item if isinstance(field, ListOf) else field
        if isinstance(item, Struct):
            check_fields(api, item.fields, members(api, member["member"]))


def kind(field: Field) -> str:
    return {ListOf: "list", Struct: "object", Uint: "int"}.get(type(field), "string")


def test_error_codes_are_the_service_s():
    known = {value for value in vars(errorcodes).values() if isinstance(value, str)}
    ours = {value for name, value in vars(errors).items() if name.isupper()}
    of_the_platform = {"InvalidAction", "UnknownParameter"}
    assert ours - known == of_the_platform


def test_answers_have_the_documented_members(api):
    with Store() as store:
        answers = every_answer(Engine(store))
    assert set(answers) >= {name for name in ACTIONS if not name.startswith("PostQuantum")}
    for action, answer in answers.items():
        check_answer(api, answer | {"RequestId": ""}, f"{action}Response", action)


def check_answer(api: dict[str, Any], answer: dict[str, Any], shape: str, where: str) -> None:
    documented = members(api, shape)
    assert set(answer) <= set(documented), where
    for name, member in documented.items():
        if name not in answer:
            assert member.get("disabled") or not member.get("output_required"), f"{where}.{name}"
            continue
        values = answer[name] if member["type"] == "list" else [answer[name]]
        for value in values:
            if isinstance(value, dict):
                check_answer(api, value, member["member"], f"{where}.{name}")
            else:
                expected = {"string": str, "bool": bool}.get(member["member"], int)
                assert type(value) is expected, f"{where}.{name}"


def every_answer(engine: Engine) -> dict[str, dict[str, Any]]:
    """One real answer of each action, on the way through the lives of some keys."""
    answers: dict[str, dict[str, Any]] = {}

    def call(action: str, **params: object) -> dict[str, Any]:
        answers[action] = engine.call(action, params)
        return answers[action]

    key_id = call("CreateKey", Alias="a")["KeyId"]
    of_key = {"KeyId": key_id}
    for action in ("ListAlgorithms", "GetServiceStatus", "GetRegions", "ListKeys", "ListKeyDetail"):
        call(action)
    call("GenerateRandom", NumberOfBytes=1)
    call("DescribeKey", **of_key)
    call("DescribeKeys", KeyIds=[key_id])
    call("UpdateAlias", **of_key, Alias="b")
    call("UpdateKeyDescription", **of_key, Description="c")
    blob = call("Encrypt", **of_key, Plaintext="YQ==")["CiphertextBlob"]
    call("Decrypt", CiphertextBlob=blob)
    call("ReEncrypt", CiphertextBlob=blob)
    call("EnableKeyRotation", **of_key)
    call("GetKeyRotationStatus", **of_key)
    call("RotateKey", **of_key)
    call("DisableKeyRotation", **of_key)
    call("BindCloudResource", **of_key, ProductId="p", ResourceId="r")
    call("UnbindCloudResource", **of_key, ProductId="p", ResourceId="r")
    hosted_answers(call, key_id)
    call("ArchiveKey", **of_key)
    call("CancelKeyArchive", **of_key)
    call("DisableKeys", KeyIds=[key_id])
    call("EnableKeys", KeyIds=[key_id])
    call("DisableKey", **of_key)
    call("EnableKey", **of_key)
    call("DisableKey", **of_key)
    call("ScheduleKeyDeletion", **of_key, PendingWindowInDays=7)
    call("CancelKeyDeletion", **of_key)
    asymmetric_answers(call, engine)
    return answers


def hosted_answers(call: Any, key_id: str) -> None:
    made = call("GenerateDataKey", KeyId=key_id, KeySpec="AES_128", IsHostedByKms=1, DataKeyName="d")
    call("ImportDataKey", DataKeyName="i", ImportKeyMaterial=made["CiphertextBlob"], ImportType=1)
    of_key, several = {"DataKeyId": made["DataKeyId"]}, {"DataKeyIds": [made["DataKeyId"]]}
    for action in ("GetDataKeyPlaintext", "GetDataKeyCiphertextBlob", "DescribeDataKey", "DisableDataKey"):
        call(action, **of_key)
    call("EnableDataKey", **of_key)
    call("UpdateDataKeyName", **of_key, DataKeyName="e")
    call("UpdateDataKeyDescription", **of_key, Description="f")
    for action in ("DescribeDataKeys", "EnableDataKeys", "DisableDataKeys"):
        call(action, **several)
    call("ListDataKeys")
    call("ListDataKeyDetail")
    call("ScheduleDataKeyDeletion", **of_key, PendingWindowInDays=7)
    call("CancelDataKeyDeletion", **of_key)


def asymmetric_answers(call: Any, engine: Engine) -> None:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    from kmsenvelope.kms.sm2 import SM2PublicKey

    def encrypted(public_key: str, data: bytes) -> str:
        public = load_der_public_key(base64.b64decode(public_key))
        return base64.b64encode(public.encrypt(data, PKCS1v15())).decode()

    rsa = call("CreateKey", Alias="rsa", KeyUsage="ASYMMETRIC_DECRYPT_RSA_2048")["KeyId"]
    sealed = encrypted(call("GetPublicKey", KeyId=rsa)["PublicKey"], b"a")
    call("AsymmetricRsaDecrypt", KeyId=rsa, Ciphertext=sealed, Algorithm="RSAES_PKCS1_V1_5")
    sm2 = call("CreateKey", Alias="sm2", KeyUsage="ASYMMETRIC_DECRYPT_SM2")["KeyId"]
    public = SM2PublicKey.from_der(base64.b64decode(call("GetPublicKey", KeyId=sm2)["PublicKey"]))
    call("AsymmetricSm2Decrypt", KeyId=sm2, Ciphertext=base64.b64encode(public.encrypt(b"a")).decode())
    ecc = call("CreateKey", Alias="ecc", KeyUsage="ASYMMETRIC_SIGN_VERIFY_ECC")["KeyId"]
    signing = {"KeyId": ecc, "Message": "YQ==", "Algorithm": "ECC_P256_R1"}
    signature = call("SignByAsymmetricKey", **signing)["Signature"]
    call("VerifyByAsymmetricKey", **signing, SignatureValue=signature)
    own = call("CreateKey", Alias="own", Type=2)["KeyId"]
    wrapping = {"WrappingAlgorithm": "RSAES_PKCS1_V1_5", "WrappingKeySpec": "RSA_2048"}
    got = call("GetParametersForImport", KeyId=own, **wrapping)
    material = encrypted(got["PublicKey"], bytes(32))
    token = got["ImportToken"]
    call("ImportKeyMaterial", KeyId=own, EncryptedKeyMaterial=material, ImportToken=token)
    call("DeleteImportedKeyMaterial", KeyId=own)
