"""CiphertextBlobs: three parts that look like the service's, with an authenticated body of our own.

    base64(64 bytes) "-k-" base64(16 bytes) "-k-" base64(body)

Part 1 names the CMK and its material version, part 2 is a constant, the body is
``u32(material version) || nonce (12) || AES-256-GCM(plaintext)``. The AES key is HKDF-SHA256 of the CMK's
material; the associated data is both other parts and the encryption context. So a blob opens only under the
CMK, version and context that it was made with, and any changed character makes it invalid.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import errors as e
from .errors import EngineError
from .policy import Policy

NO_CONTEXT = b"absent"
"""The binding of a blob without encryption context."""

_SEPARATOR = "-k-"
_MARKER = hashlib.sha256(b"kmsenvelope emulator blob 1").digest()[:16]


@dataclass(frozen=True)
class Blob:
    """A parsed blob: which CMK and material version made it, and its sealed body."""

    key_id: str
    version: int
    nonce: bytes
    sealed: bytes


def seal(
    key_id: str, version: int, material: bytes, plaintext: bytes, *, binding: bytes, nonce: bytes
) -> str:
    """A new blob of ``plaintext``. ``binding`` stands for the encryption context, see ``context_binding``.

    ``nonce`` is 12 random bytes.
    """
    sealed = _cipher(key_id, version, material).encrypt(nonce, plaintext, _bound(key_id, version, binding))
    parts = (_name(key_id, version), _MARKER, version.to_bytes(4, "big") + nonce + sealed)
    return _SEPARATOR.join(base64.b64encode(part).decode() for part in parts)


def parse(text: str) -> Blob:
    """Raises ``EngineError`` (InvalidCiphertext) if ``text`` is not a blob of this emulator."""
    try:
        name, marker, body = (_strict_base64(part) for part in text.split(_SEPARATOR))
    except ValueError:
        raise EngineError(e.INVALID_CIPHERTEXT, "the ciphertext does not have its three parts") from None
    if len(name) != 64 or marker != _MARKER or len(body) < 32:
        raise EngineError(e.INVALID_CIPHERTEXT, "the ciphertext was not made here")
    key_id, version = str(uuid.UUID(bytes=name[:16])), int.from_bytes(body[:4], "big")
    if name != _name(key_id, version):
        raise EngineError(e.INVALID_CIPHERTEXT, "the ciphertext is damaged")
    return Blob(key_id, version, body[4:16], body[16:])


def unseal(blob: Blob, material: bytes, binding: bytes) -> bytes | None:
    """The plaintext, or ``None`` if the blob is not authentic under this material and binding."""
    cipher = _cipher(blob.key_id, blob.version, material)
    try:
        return cipher.decrypt(blob.nonce, blob.sealed, _bound(blob.key_id, blob.version, binding))
    except InvalidTag:
        return None


def context_binding(context: str | None, policy: Policy) -> bytes:
    """The bytes that stand for an encryption context, by the policy's rules of comparison.

    Raises ``EngineError`` (InvalidParameter) unless it is a JSON object.
    """
    if context is None or (context == "" and policy.empty_context_is_absent):
        return NO_CONTEXT
    parsed = _json_object(context) if context else {}
    if policy.context_comparison == "json":
        context = json.dumps(parsed, sort_keys=True)
    return b"context " + context.encode("utf-8", "surrogatepass")


def _json_object(context: str) -> dict[str, Any]:
    try:
        parsed = json.loads(context)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise EngineError(e.INVALID_PARAMETER, "the encryption context is not a JSON object")
    return parsed


def _strict_base64(part: str) -> bytes:
    data = base64.b64decode(part, validate=True)
    if base64.b64encode(data).decode() != part:
        raise binascii.Error("not canonical")
    return data


def _name(key_id: str, version: int) -> bytes:
    start = uuid.UUID(key_id).bytes
    return start + hashlib.sha512(start + version.to_bytes(4, "big")).digest()[:48]


def _bound(key_id: str, version: int, binding: bytes) -> bytes:
    return _name(key_id, version) + _MARKER + version.to_bytes(4, "big") + binding


def _cipher(key_id: str, version: int, material: bytes) -> AESGCM:
    info = b"kmsenvelope emulator blob 1" + uuid.UUID(key_id).bytes + version.to_bytes(4, "big")
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(material))
