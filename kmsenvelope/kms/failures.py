"""From the codes of failed KMS calls to this package's errors, and which of them may pass by themselves.

Codes are matched exactly, as the error lists of the KMS API (version 2019-01-18) and the platform's common
error codes name them; ``_DOUBTFUL`` adds what the SDK makes of a call without a whole answer.
"""

from __future__ import annotations

from ..errors import KeyUnavailable, KmsAccessDenied, KmsError, KmsThrottled, KmsUnavailable
from .transport import ServiceError

INCOMPLETE_ANSWER = "IncompleteAnswer"
UNEXPECTED_ANSWER = "UnexpectedAnswer"
NO_CREDENTIALS = "NoCredentials"

_THROTTLED = frozenset(
    {
        "RequestLimitExceeded",
        "RequestLimitExceeded.GlobalRegionUinLimitExceeded",
        "RequestLimitExceeded.IPLimitExceeded",
        "RequestLimitExceeded.UinLimitExceeded",
    }
)

_REFUSED_FOR_NOW = frozenset({"ServiceUnavailable", "UnsupportedOperation.ServiceTemporaryUnavailable"})

_DOUBTFUL = frozenset(
    {
        "ChunkedEncodingError",
        "ClientNetworkError",
        "ConnectionError",
        "InternalError",
        "JSONDecodeError",
        "ServerNetworkError",
    }
)

_TRANSIENT = _THROTTLED | _REFUSED_FOR_NOW | _DOUBTFUL

_ACCESS_DENIED = frozenset(
    {
        "AuthFailure",
        "AuthFailure.InvalidAuthorization",
        "AuthFailure.InvalidSecretId",
        "AuthFailure.MFAFailure",
        "AuthFailure.SecretIdNotFound",
        "AuthFailure.SignatureExpire",
        "AuthFailure.SignatureFailure",
        "AuthFailure.TokenFailure",
        "AuthFailure.UnauthorizedOperation",
        "InvalidCredential",
        "IpInBlacklist",
        "IpNotInWhitelist",
        NO_CREDENTIALS,
        "UnauthorizedOperation",
        "UnsupportedOperation.NotRoleOperation",
    }
)

_KEY_UNAVAILABLE = frozenset(
    {
        "InvalidParameterValue.InvalidKeyId",
        "ResourceUnavailable.CmkArchived",
        "ResourceUnavailable.CmkDisabled",
        "ResourceUnavailable.CmkNotFound",
        "ResourceUnavailable.CmkStateNotSupport",
        "ResourceUnavailable.KeyDisabled",
        "ResourceUnavailable.KeyPendingDelete",
    }
)

_CLASSES: dict[str, type[KmsError]] = {
    **dict.fromkeys((*_THROTTLED, "RequestLimitExceeded.RotateRateLimited"), KmsThrottled),
    **dict.fromkeys((*_REFUSED_FOR_NOW, *_DOUBTFUL, "KeyError", INCOMPLETE_ANSWER), KmsUnavailable),
    **dict.fromkeys(_ACCESS_DENIED, KmsAccessDenied),
    **dict.fromkeys(_KEY_UNAVAILABLE, KeyUnavailable),
}

_ADVICE = {
    "AuthFailure.SecretIdNotFound": "check the secret id: it is unknown, disabled or deleted",
    "AuthFailure.SignatureExpire": "set this machine's clock: it is more than five minutes off",
    "AuthFailure.SignatureFailure": "check the secret key",
    "AuthFailure.TokenFailure": "get new temporary credentials: the token is wrong or has expired",
    "AuthFailure.UnauthorizedOperation": "ask for the permission in CAM",
    "FailedOperation.DecryptError": "use the key and the algorithm that it was encrypted for",
    "InvalidParameter.DecryptMaterialError": "wrap the material with the latest public key and token, "
    "under the same algorithm",
    "InvalidParameterValue.AliasAlreadyExists": "choose another alias, or use the key that has it",
    "InvalidParameterValue.InvalidCiphertext": "give the encryption context of then, and check account and "
    "region; else it is damaged",
    "InvalidParameterValue.InvalidKeyUsage": "take a key of the right usage: an RSA or SM2 key encrypts "
    "through kms.public_key(key_id), a symmetric key has no public half",
    "InvalidParameterValue.MaterialNotMatch": "a key only ever takes the material that it was first given",
    "RequestLimitExceeded.RotateRateLimited": "a key can be rotated once in 24 hours",
    "ResourceUnavailable.CmkArchived": "cancel the archiving (CancelKeyArchive) to encrypt with it again",
    "ResourceUnavailable.CmkDisabled": "enable the key (EnableKey), import the material that it waits "
    "for, or cancel its deletion",
    "ResourceUnavailable.CmkNotFound": "check the key id and the region",
    "ResourceUnavailable.CmkStateNotSupport": "the key's state does not allow it: see DescribeKey",
    "ResourceUnavailable.KeyPendingDelete": "cancel the deletion (CancelKeyDeletion) while there is time",
    "ResourceUnavailable.NotPurchased": "open the KMS in the console first",
    "ResourceUnavailable.TokenExpired": "start the import again: a token lasts 24 hours",
    "UnauthorizedOperation": "ask for the permission in CAM",
    "UnsupportedOperation.ExternalCmkCanNotRotate": "make a new key: imported material cannot rotate",
    "UnsupportedOperation.NotExternalCmk": "only a key made with external=True takes imported material",
}

_MAX_MESSAGE = 400


def kms_error(failure: ServiceError, action: str) -> KmsError:
    """The error to raise for ``failure``: its class by exact code, its message with what to do about it."""
    message = "".join(char if char.isprintable() else " " for char in failure.message)[:_MAX_MESSAGE]
    if advice := _ADVICE.get(failure.code):
        message = f"{message}; {advice}" if message else advice
    return _CLASSES.get(failure.code, KmsError)(
        message or "the KMS gave no reason",
        code=failure.code,
        action=action,
        request_id=failure.request_id,
        retryable=failure.code in _TRANSIENT,
    )


def left_in_doubt(error: KmsError) -> bool:
    """Whether the action may have been done although the call failed: the answer was lost on the way."""
    return error.code in _DOUBTFUL
