"""Checks of what a KMS answers: nothing missing, the right key, the right length."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from ..errors import KmsError, KmsUnavailable
from .failures import INCOMPLETE_ANSWER, UNEXPECTED_ANSWER

_MANDATORY: dict[str, tuple[str, ...]] = {
    "AsymmetricRsaDecrypt": ("KeyId", "Plaintext"),
    "AsymmetricSm2Decrypt": ("KeyId", "Plaintext"),
    "CreateKey": ("KeyId",),
    "Decrypt": ("KeyId", "Plaintext"),
    "DescribeKey": ("KeyMetadata",),
    "Encrypt": ("KeyId", "CiphertextBlob"),
    "GenerateDataKey": ("KeyId", "Plaintext", "CiphertextBlob"),
    "GenerateRandom": ("Plaintext",),
    "GetParametersForImport": ("KeyId", "ImportToken", "PublicKey"),
    "GetPublicKey": ("KeyId", "PublicKey"),
    "ListKeyDetail": ("TotalCount",),
    "PostQuantumCryptoDecrypt": ("KeyId", "PlainText"),
    "PostQuantumCryptoEncrypt": ("KeyId", "CiphertextBlob"),
    "PostQuantumCryptoSign": ("Signature",),
    "PostQuantumCryptoVerify": ("SignatureValid",),
    "ReEncrypt": ("CiphertextBlob", "KeyId", "SourceKeyId"),
    "SignByAsymmetricKey": ("Signature",),
    "VerifyByAsymmetricKey": ("SignatureValid",),
}


def check_complete(action: str, answer: Mapping[str, Any]) -> None:
    """Raise ``KmsUnavailable`` unless ``answer`` has every mandatory output of ``action``.

    The SDK hands out an answer of nothing but ``None`` where it overlooks an error.
    """
    for name in _MANDATORY.get(action, ()):
        if answer.get(name) in (None, ""):
            raise KmsUnavailable(
                f"the answer has no {name}: a proxy may have changed it",
                code=INCOMPLETE_ANSWER,
                action=action,
                request_id=answer.get("RequestId"),
            )


def check_key(action: str, answer: Mapping[str, Any], key_id: str) -> None:
    """Raise ``KmsError`` unless the CMK that answered is ``key_id``."""
    if answer["KeyId"] != key_id:
        raise _unexpected(action, answer, f"key {answer['KeyId']!r} answered in place of {key_id!r}")


def decode(action: str, answer: Mapping[str, Any], name: str) -> bytearray:
    """The bytes of a Base64 member. Raises ``KmsError`` if it is not Base64."""
    try:
        return bytearray(base64.b64decode(answer[name], validate=True))
    except (TypeError, ValueError, binascii.Error):
        raise _unexpected(action, answer, f"the answer's {name} is not Base64") from None


def check_length(action: str, answer: Mapping[str, Any], dek: bytearray, sizes: tuple[int, ...]) -> None:
    """Raise ``KmsError`` unless ``dek`` has one of the lengths in ``sizes``, in bytes."""
    if len(dek) not in sizes:
        wanted = " or ".join(map(str, sizes))
        raise _unexpected(action, answer, f"the data key has {len(dek)} bytes, not {wanted}")


def _unexpected(action: str, answer: Mapping[str, Any], what: str) -> KmsError:
    return KmsError(what, code=UNEXPECTED_ANSWER, action=action, request_id=answer.get("RequestId"))
