"""After a call whose answer was lost: find out whether it was done, instead of doing it twice.

No KMS action takes an idempotency token, so a repeated ``CreateKey`` fails with ``AliasAlreadyExists`` for
the key that the lost answer was about, and a repeated ``ScheduleKeyDeletion`` for the state it has caused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .alias import find_alias

Call = Callable[[str, Mapping[str, object]], dict[str, Any]]

_REPEATABLE = frozenset(
    {
        "AsymmetricRsaDecrypt",
        "AsymmetricSm2Decrypt",
        "BindCloudResource",
        "Decrypt",
        "DisableKeyRotation",
        "EnableKeyRotation",
        "Encrypt",
        "GenerateDataKey",
        "GenerateRandom",
        "ImportKeyMaterial",
        "PostQuantumCryptoDecrypt",
        "PostQuantumCryptoEncrypt",
        "PostQuantumCryptoSign",
        "PostQuantumCryptoVerify",
        "ReEncrypt",
        "SignByAsymmetricKey",
        "UpdateAlias",
        "UpdateKeyDescription",
        "VerifyByAsymmetricKey",
    }
)

_STATE_AFTER = {
    "ArchiveKey": "Archived",
    "CancelKeyArchive": "Enabled",
    "CancelKeyDeletion": "Disabled",
    "DeleteImportedKeyMaterial": "PendingImport",
    "DisableKey": "Disabled",
    "EnableKey": "Enabled",
    "ScheduleKeyDeletion": "PendingDelete",
}

_CLOCK_SKEW = 300
"""Seconds: the service refuses callers whose clock is further off than this."""


def may_be_done_twice(action: str, params: Mapping[str, object]) -> bool:
    """Whether doing ``action`` a second time leaves the same result as doing it once.

    ``ImportKeyMaterial`` is such an action: a key takes its own material again, and the token serves for 24
    hours. A data key that the KMS is to store (``IsHostedByKms``) is not.
    """
    if action.startswith(("Describe", "Get", "List")):
        return True
    return action in _REPEATABLE and params.get("IsHostedByKms") in (None, 0)


def can_be_settled(action: str) -> bool:
    """Whether ``settle`` can tell if ``action`` was done."""
    return action == "CreateKey" or action in _STATE_AFTER


def settle(call: Call, action: str, params: Mapping[str, object], since: float) -> dict[str, Any] | None:
    """The answer of ``action`` if it turns out to be done, ``None`` if it is not.

    ``call`` sends one request, ``since`` is the time (seconds since 1970) of the first attempt.
    """
    if action == "CreateKey":
        return _created_key(call, params, since)
    if action in _STATE_AFTER:
        return _changed_state(call, action, params)
    return None


def _created_key(call: Call, params: Mapping[str, object], since: float) -> dict[str, Any] | None:
    found = find_alias(call, str(params.get("Alias")))
    if found is None or found.get("CreateTime", 0) < since - _CLOCK_SKEW:
        return None
    wanted = {
        "Description": params.get("Description") or "",
        "KeyUsage": params.get("KeyUsage") or "ENCRYPT_DECRYPT",
        "Origin": "EXTERNAL" if params.get("Type") == 2 else "TENCENT_KMS",
    }
    if any(found.get(name) != value for name, value in wanted.items()):
        return None
    return {name: found.get(name) for name in ("KeyId", "Alias", "CreateTime", "KeyState", "KeyUsage")}


def _changed_state(call: Call, action: str, params: Mapping[str, object]) -> dict[str, Any] | None:
    metadata = call("DescribeKey", {"KeyId": params.get("KeyId")})["KeyMetadata"]
    if metadata.get("KeyState") != _STATE_AFTER[action]:
        return None
    if action == "ScheduleKeyDeletion":
        return {"KeyId": metadata["KeyId"], "DeletionDate": metadata.get("DeletionDate")}
    return {"KeyId": metadata["KeyId"]} if action == "CancelKeyDeletion" else {}
