"""Operation by state of the CMK: the API's rules as a table, the policy where they are silent."""

from __future__ import annotations

from . import errors as e
from .errors import EngineError
from .policy import Policy
from .records import ARCHIVED, DISABLED, ENABLED, PENDING_DELETE, PENDING_IMPORT, Key

_ASK = "?"
"""Undocumented: the answer is the policy's field ``<row's first word>_<state>``."""

_STATES = {
    ENABLED: "enabled",
    DISABLED: "disabled",
    PENDING_DELETE: "pending_delete",
    PENDING_IMPORT: "pending_import",
    ARCHIVED: "archived",
}

_OK = None
_STATE, _OFF, _ARCH = e.CMK_STATE, e.CMK_DISABLED, e.CMK_ARCHIVED
_NOT_DELETING = e.CMK_NOT_PENDING_DELETE

# fmt: off
_TABLE: dict[str, tuple[str, str | None, str | None, str | None, str | None, str | None]] = {
    # operation: (policy prefix, Enabled, Disabled, PendingDelete, PendingImport, Archived)
    "Describe":                  ("", _OK, _OK, _OK, _OK, _OK),
    "Encrypt":                   ("encrypt", _OK, _OFF, _ASK, _ASK, _ARCH),
    "GenerateDataKey":           ("generate", _OK, _OFF, e.KEY_PENDING_DELETE, _ASK, _ASK),
    "Decrypt":                   ("decrypt", _OK, _OFF, _ASK, _ASK, _OK),
    "ReEncrypt.Source":          ("reencrypt_source", _OK, _OFF, _ASK, _ASK, _ASK),
    "ReEncrypt.Destination":     ("reencrypt_destination", _OK, _OFF, _ASK, _ASK, _ASK),
    "GetPublicKey":              ("", _OK, _STATE, _STATE, _STATE, _STATE),
    "AsymmetricDecrypt":         ("", _OK, _STATE, _STATE, _STATE, _STATE),
    "Sign":                      ("", _OK, _STATE, _STATE, _STATE, _STATE),
    "Verify":                    ("verify", _OK, _STATE, _STATE, _STATE, _ASK),
    "EnableKey":                 ("enable", _ASK, _OK, _STATE, _STATE, _STATE),
    "DisableKey":                ("disable", _OK, _ASK, _STATE, _STATE, _STATE),
    "ScheduleKeyDeletion":       ("schedule_deletion", e.CMK_SHOULD_BE_DISABLED, _OK, _STATE, _ASK, _ASK),
    "CancelKeyDeletion":         ("", _NOT_DELETING, _NOT_DELETING, _OK, _NOT_DELETING, _NOT_DELETING),
    "ArchiveKey":                ("archive", _OK, _ASK, _STATE, _STATE, _ASK),
    "CancelKeyArchive":          ("", _STATE, _STATE, _STATE, _STATE, _OK),
    "EnableKeyRotation":         ("", _OK, _STATE, _STATE, _STATE, _STATE),
    "RotateKey":                 ("", _OK, _STATE, _STATE, _STATE, _STATE),
    "Update":                    ("update", _OK, _OK, _ASK, _OK, _OK),
    "GetParametersForImport":    ("parameters", _OK, _OK, _ASK, _OK, _ASK),
    "ImportKeyMaterial":         ("", _OK, _STATE, _STATE, _OK, _STATE),
    "DeleteImportedKeyMaterial": ("delete_material", _OK, _ASK, _STATE, _ASK, _ASK),
    "BindCloudResource":         ("bind", _OK, _ASK, _STATE, _ASK, _ASK),
}
# fmt: on

OPERATIONS = tuple(_TABLE)


def refusal(operation: str, state: str, policy: Policy) -> str | None:
    """The error code that ``operation`` answers for a CMK in ``state``, or ``None`` if it goes ahead."""
    prefix, *answers = _TABLE[operation]
    answer = answers[list(_STATES).index(state)]
    if answer == _ASK:
        answer = getattr(policy, f"{prefix}_{_STATES[state]}")
    return answer


def check_state(operation: str, key: Key, policy: Policy) -> None:
    """Raises ``EngineError`` if the state of ``key`` does not permit ``operation``."""
    code = refusal(operation, key.state, policy)
    if code is not None:
        raise EngineError(code, f"the key {key.id} is in state {key.state}", key.id)
