"""Every operation in every state of a CMK, and that each open question follows its policy."""

from __future__ import annotations

import base64
from dataclasses import fields, replace

import pytest

from kmsenvelope.emulator.engine import Engine, EngineError, Policy
from kmsenvelope.emulator.states import OPERATIONS, refusal
from kmsenvelope.emulator.store import Store

STATES = ("Enabled", "Disabled", "PendingDelete", "PendingImport", "Archived")
OFF, STATE, ARCHIVED = (
    f"ResourceUnavailable.{name}" for name in ("CmkDisabled", "CmkStateNotSupport", "CmkArchived")
)
NOT_PENDING = "ResourceUnavailable.CmkNotPendingDelete"
OK = "ok"

# Rows as the API documents them; a lower-case name is an open question: the field of Policy that answers it.
EXPECTED = {
    "Encrypt": (OK, OFF, "encrypt_pending_delete", "encrypt_pending_import", ARCHIVED),
    "GenerateDataKey": (
        OK,
        OFF,
        "ResourceUnavailable.KeyPendingDelete",
        "generate_pending_import",
        "generate_archived",
    ),
    "Decrypt": (OK, OFF, "decrypt_pending_delete", "decrypt_pending_import", OK),
    "ReEncrypt": (
        OK,
        OFF,
        "reencrypt_source_pending_delete",
        "reencrypt_source_pending_import",
        "reencrypt_destination_archived",
    ),
    "EnableKey": ("enable_enabled", OK, STATE, STATE, STATE),
    "DisableKey": (OK, "disable_disabled", STATE, STATE, STATE),
    "ScheduleKeyDeletion": (
        "ResourceUnavailable.CmkShouldBeDisabled",
        OK,
        STATE,
        "schedule_deletion_pending_import",
        "schedule_deletion_archived",
    ),
    "CancelKeyDeletion": (NOT_PENDING, NOT_PENDING, OK, NOT_PENDING, NOT_PENDING),
    "ArchiveKey": (OK, "archive_disabled", STATE, STATE, "archive_archived"),
    "CancelKeyArchive": (STATE, STATE, STATE, STATE, OK),
    "UpdateAlias": (OK, OK, "update_pending_delete", OK, OK),
    "UpdateKeyDescription": (OK, OK, "update_pending_delete", OK, OK),
    "GetParametersForImport": (OK, OK, "parameters_pending_delete", OK, "parameters_archived"),
    "ImportKeyMaterial": (OK, STATE, STATE, OK, STATE),
    "DeleteImportedKeyMaterial": (
        OK,
        "delete_material_disabled",
        STATE,
        "delete_material_pending_import",
        "delete_material_archived",
    ),
    "BindCloudResource": (OK, "bind_disabled", STATE, "bind_pending_import", "bind_archived"),
    "DescribeKey": (OK,) * 5,
    "GetKeyRotationStatus": (OK,) * 5,
    "DisableKeyRotation": (OK,) * 5,
}


class Scene:
    """A CMK of imported material in a given state, and what each operation needs."""

    def __init__(self, engine: Engine, state: str) -> None:
        self.engine = engine
        self.key_id = engine.call("CreateKey", {"Alias": "demo", "Type": 2})["KeyId"]
        self.import_params = self._import_params()
        engine.call("ImportKeyMaterial", self.import_params)
        self.blob = engine.call("Encrypt", {"KeyId": self.key_id, "Plaintext": "YQ=="})["CiphertextBlob"]
        self._bring_to(state)

    def _import_params(self) -> dict[str, object]:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.serialization import load_der_public_key

        wanted = {
            "KeyId": self.key_id,
            "WrappingAlgorithm": "RSAES_PKCS1_V1_5",
            "WrappingKeySpec": "RSA_2048",
        }
        got = self.engine.call("GetParametersForImport", wanted)
        public = load_der_public_key(base64.b64decode(got["PublicKey"]))
        wrapped = public.encrypt(bytes(32), PKCS1v15())
        return {
            "KeyId": self.key_id,
            "ImportToken": got["ImportToken"],
            "EncryptedKeyMaterial": base64.b64encode(wrapped).decode(),
        }

    def _bring_to(self, state: str) -> None:
        if state in ("Disabled", "PendingDelete"):
            self.engine.call("DisableKey", {"KeyId": self.key_id})
        if state == "PendingDelete":
            self.engine.call("ScheduleKeyDeletion", {"KeyId": self.key_id, "PendingWindowInDays": 7})
        if state == "PendingImport":
            self.engine.call("DeleteImportedKeyMaterial", {"KeyId": self.key_id})
        if state == "Archived":
            self.engine.call("ArchiveKey", {"KeyId": self.key_id})
        found = self.engine.call("DescribeKey", {"KeyId": self.key_id})["KeyMetadata"]["KeyState"]
        assert found == state

    def perform(self, action: str) -> str:
        params: dict[str, object] = {"KeyId": self.key_id} | {
            "Encrypt": {"Plaintext": "YQ=="},
            "GenerateDataKey": {"KeySpec": "AES_256"},
            "ScheduleKeyDeletion": {"PendingWindowInDays": 7},
            "UpdateAlias": {"Alias": "renamed"},
            "UpdateKeyDescription": {"Description": "new"},
            "GetParametersForImport": {
                "WrappingAlgorithm": "RSAES_OAEP_SHA_256",
                "WrappingKeySpec": "RSA_2048",
            },
            "ImportKeyMaterial": self.import_params,
            "BindCloudResource": {"ProductId": "ssm", "ResourceId": "r"},
        }.get(action, {})
        if action in ("Decrypt", "ReEncrypt"):
            params = {"CiphertextBlob": self.blob}
        try:
            self.engine.call(action, params)
        except EngineError as error:
            return error.code
        return OK


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", EXPECTED)
def test_operation_by_state(action, state):
    expected = EXPECTED[action][STATES.index(state)]
    with Store() as store:
        engine = Engine(store)
        if expected.islower() and expected != OK:
            expected = getattr(engine.policy, expected) or OK
        assert Scene(engine, state).perform(action) == expected


QUESTIONS = sorted(
    field.name
    for field in fields(Policy)
    if any(field.name == name for row in EXPECTED.values() for name in row)
)


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_open_question_follows_its_policy(question):
    action, row = next((action, row) for action, row in EXPECTED.items() if question in row)
    policy = replace(Policy(), **{question: "InternalError"})
    with Store() as store:
        assert (
            Scene(Engine(store, policy=policy), STATES[row.index(question)]).perform(action)
            == "InternalError"
        )


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("state", STATES)
def test_the_table_answers_for_every_operation_and_state(operation, state):
    code = refusal(operation, state, Policy())
    assert code is None or code.startswith("ResourceUnavailable.")


def test_a_policy_that_lets_a_key_without_material_encrypt_still_finds_none():
    with Store() as store:
        scene = Scene(Engine(store, policy=Policy(encrypt_pending_import=None)), "PendingImport")
        assert scene.perform("Encrypt") == STATE


def test_archived_keys_decrypt_only(tmp_path):
    with Store() as store:
        scene = Scene(Engine(store), "Archived")
        assert scene.engine.call("Decrypt", {"CiphertextBlob": scene.blob})["Plaintext"] == "YQ=="
        scene.engine.call("CancelKeyArchive", {"KeyId": scene.key_id})
        assert scene.perform("Encrypt") == OK


def test_an_archived_key_can_be_the_source_of_reencrypt():
    with Store() as store:
        scene = Scene(Engine(store), "Archived")
        other = scene.engine.call("CreateKey", {"Alias": "other"})["KeyId"]
        moved = scene.engine.call("ReEncrypt", {"CiphertextBlob": scene.blob, "DestinationKeyId": other})
        assert moved["ReEncrypted"] is True
