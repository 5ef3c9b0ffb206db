"""The one error of the engine, and short names for the service's error codes."""

from __future__ import annotations


class EngineError(Exception):
    """The service's refusal: ``code`` exactly as the API has it, ``message`` for people.

    ``key_id`` is the CMK concerned, where the engine got as far as finding it (for the audit log).
    """

    def __init__(self, code: str, message: str, key_id: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.key_id = key_id

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


INVALID_ACTION = "InvalidAction"
UNKNOWN_PARAMETER = "UnknownParameter"
MISSING_PARAMETER = "MissingParameter"
INVALID_PARAMETER = "InvalidParameter"
INVALID_VALUE = "InvalidParameterValue"

INVALID_WINDOW = "InvalidParameter.InvalidPendingWindowInDays"
DECRYPT_MATERIAL = "InvalidParameter.DecryptMaterialError"

ALIAS_EXISTS = "InvalidParameterValue.AliasAlreadyExists"
DATA_KEY_NAME_EXISTS = "InvalidParameterValue.DataKeyNameAlreadyExists"
DUPLICATED_DATA_KEY_ID = "InvalidParameterValue.DuplicatedDataKeyId"
DUPLICATED_KEY_ID = "InvalidParameterValue.DuplicatedKeyId"
INVALID_ALIAS = "InvalidParameterValue.InvalidAlias"
INVALID_CIPHERTEXT = "InvalidParameterValue.InvalidCiphertext"
INVALID_DATA_KEY_ID = "InvalidParameterValue.InvalidDataKeyId"
INVALID_DATA_KEY_NAME = "InvalidParameterValue.InvalidDataKeyName"
INVALID_HSM_CLUSTER = "InvalidParameterValue.InvalidHsmClusterId"
INVALID_IMPORT = "InvalidParameterValue.InvalidImportKeyMaterial"
INVALID_KEY_ID = "InvalidParameterValue.InvalidKeyId"
INVALID_KEY_USAGE = "InvalidParameterValue.InvalidKeyUsage"
INVALID_PLAINTEXT = "InvalidParameterValue.InvalidPlaintext"
INVALID_TYPE = "InvalidParameterValue.InvalidType"
MATERIAL_NOT_MATCH = "InvalidParameterValue.MaterialNotMatch"
TAG_KEYS_DUPLICATED = "InvalidParameterValue.TagKeysDuplicated"

CMK_LIMIT = "LimitExceeded.CmkLimitExceeded"
DATA_KEY_LIMIT = "LimitExceeded.DataKeyLimitExceeded"
ROTATE_RATE = "RequestLimitExceeded.RotateRateLimited"

BINDING_NOT_FOUND = "ResourceUnavailable.CloudResourceBindingNotFound"
CMK_ARCHIVED = "ResourceUnavailable.CmkArchived"
CMK_DISABLED = "ResourceUnavailable.CmkDisabled"
CMK_NOT_FOUND = "ResourceUnavailable.CmkNotFound"
CMK_NOT_PENDING_DELETE = "ResourceUnavailable.CmkNotPendingDelete"
CMK_SHOULD_BE_DISABLED = "ResourceUnavailable.CmkShouldBeDisabled"
CMK_STATE = "ResourceUnavailable.CmkStateNotSupport"
DATA_KEY_DISABLED = "ResourceUnavailable.DataKeyDisabled"
DATA_KEY_NOT_FOUND = "ResourceUnavailable.DataKeyNotFound"
DATA_KEY_NOT_PENDING_DELETE = "ResourceUnavailable.DataKeyNotPendingDelete"
DATA_KEY_PENDING_DELETE = "ResourceUnavailable.DataKeyPendingDelete"
DATA_KEY_STATE = "ResourceUnavailable.DataKeyStateNotSupport"
KEY_PENDING_DELETE = "ResourceUnavailable.KeyPendingDelete"
TOKEN_EXPIRED = "ResourceUnavailable.TokenExpired"  # noqa: S105 - an error code

CMK_USED = "FailedOperation.CmkUsedByCloudProduct"
DECRYPT_ERROR = "FailedOperation.DecryptError"
ENCRYPTION_ERROR = "FailedOperation.EncryptionError"
ROTATE_RUNNING = "FailedOperation.RotateTaskRunning"

EXTERNAL_CANNOT_ROTATE = "UnsupportedOperation.ExternalCmkCanNotRotate"
NOT_EXTERNAL = "UnsupportedOperation.NotExternalCmk"
ROTATE_NOT_SUPPORTED = "UnsupportedOperation.RotateNotSupported"
USAGE_NOT_HERE = "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion"
