"""Symmetric operations: Encrypt, Decrypt, ReEncrypt, GenerateDataKey, GenerateRandom."""

from __future__ import annotations

import base64
from typing import Any

from . import blobs, delivery, hosted
from . import errors as e
from .call import Call
from .errors import EngineError
from .records import ENCRYPT_DECRYPT
from .wrapping import unwrap, wrap

_KEY_SPECS = {"AES_128": 16, "AES_256": 32}


def encrypt(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """A blob of at most 4 096 bytes of plaintext (API: Encrypt)."""
    key = call.key(p["KeyId"], "Encrypt", ENCRYPT_DECRYPT)
    binding = blobs.context_binding(p["EncryptionContext"], call.policy)
    return {"KeyId": key.id, "CiphertextBlob": wrap(call, key, p["Plaintext"], binding)}


def decrypt(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """The plaintext of a blob, perhaps enciphered to the caller's public key (API: Decrypt)."""
    binding = blobs.context_binding(p["EncryptionContext"], call.policy)
    key, plaintext, _ = unwrap(call, p["CiphertextBlob"], binding, "Decrypt")
    return {"KeyId": key.id, "Plaintext": delivery.deliver(call, p, plaintext)}


def reencrypt(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """The same plaintext in a blob of another CMK, version or context (API: ReEncrypt)."""
    binding = blobs.context_binding(p["SourceEncryptionContext"], call.policy)
    new_binding = blobs.context_binding(p["DestinationEncryptionContext"], call.policy)
    source, plaintext, version = unwrap(call, p["CiphertextBlob"], binding, "ReEncrypt.Source")
    target = call.key(p["DestinationKeyId"] or source.id, "ReEncrypt.Destination", ENCRYPT_DECRYPT)
    unchanged = target.id == source.id and version == target.version
    if unchanged and (new_binding == binding or not call.policy.reencrypt_changed_context):
        blob, renewed = p["CiphertextBlob"], False
    else:
        blob, renewed = wrap(call, target, plaintext, new_binding), True
    return {"KeyId": target.id, "SourceKeyId": source.id, "CiphertextBlob": blob, "ReEncrypted": renewed}


def generate_data_key(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """A new data key of 1 to 1 024 bytes, in plaintext and wrapped (API: GenerateDataKey)."""
    key = call.key(p["KeyId"], "GenerateDataKey", ENCRYPT_DECRYPT)
    if p["NumberOfBytes"] is None and p["KeySpec"] is None:
        raise EngineError(e.MISSING_PARAMETER, "KeySpec or NumberOfBytes must be given", key.id)
    size = p["NumberOfBytes"] or _KEY_SPECS[p["KeySpec"]]
    binding = blobs.context_binding(p["EncryptionContext"], call.policy)
    data_key = call.random(size)
    blob = wrap(call, key, data_key, binding)
    answer = {"KeyId": key.id, "Plaintext": delivery.deliver(call, p, data_key), "CiphertextBlob": blob}
    if p["IsHostedByKms"]:
        answer |= hosted.keep(call, p, key, data_key, blob)
    return answer


def generate_random(call: Call, p: dict[str, Any]) -> dict[str, Any]:
    """1 to 1 024 random bytes (API: GenerateRandom)."""
    return {"Plaintext": base64.b64encode(call.random(p["NumberOfBytes"])).decode()}
