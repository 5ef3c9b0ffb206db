"""Plaintext to blob and back, with the CMK's material of the right version."""

from __future__ import annotations

from . import blobs
from . import errors as e
from .call import Call, material_name
from .errors import EngineError
from .records import ENCRYPT_DECRYPT, Key


def wrap(call: Call, key: Key, plaintext: bytes, binding: bytes = blobs.NO_CONTEXT) -> str:
    """A blob of ``plaintext`` under the newest material of ``key``, bound to ``binding``."""
    material = call.tx.secret(key.id, material_name(key.version))
    if material is None:  # only where a policy lets a key without material through
        raise EngineError(e.CMK_STATE, f"the key {key.id} has no material", key.id)
    nonce = call.random(12)
    return blobs.seal(key.id, key.version, material, plaintext, binding=binding, nonce=nonce)


def unwrap(call: Call, text: str, binding: bytes, operation: str) -> tuple[Key, bytes, int]:
    """The CMK of a blob, its plaintext, and the material version that made it."""
    blob = blobs.parse(text)
    key = call.key(blob.key_id, operation, ENCRYPT_DECRYPT)
    material = call.tx.secret(key.id, material_name(blob.version))
    if material is None:
        raise EngineError(e.INVALID_CIPHERTEXT, "the key has no material of the ciphertext's version", key.id)
    plaintext = blobs.unseal(blob, material, binding)
    if plaintext is None:
        message = "the ciphertext is damaged, or was made with another encryption context"
        raise EngineError(call.policy.wrong_context, message, key.id)
    return key, plaintext, blob.version
