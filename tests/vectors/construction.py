"""The format's construction, from docs/format.md and primitives only: it shares no code with the package.

For test vectors: everything is deterministic, salts and keys included. Never use it for data.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHUNK = 16_384
SEALED = 16_400
BODY_PREFIX = 56


@dataclass(frozen=True)
class Suite:
    """One row of the table of suites."""

    id: int
    name: str
    aead: str
    hash: hashes.HashAlgorithm
    key_size: int


SUITES = (
    Suite(0x01, "AES-256-GCM", "AEAD_AES_256_GCM", hashes.SHA512(), 32),
    Suite(0x02, "AES-128-GCM", "AEAD_AES_128_GCM", hashes.SHA512(), 16),
    Suite(0x03, "SM4-GCM", "AEAD_SM4_GCM", hashes.SM3(), 16),
)


def seeded(label: str, size: int) -> bytes:
    """``size`` bytes that depend on ``label`` only."""
    return hashlib.shake_256(b"kmsenvelope test vectors/" + label.encode()).digest(size)


def expand(algorithm: hashes.HashAlgorithm, prk: bytes, info: bytes, size: int) -> bytes:
    """HKDF-Expand (RFC 5869, section 2.3)."""
    output, block = b"", b""
    for counter in range(1, -(-size // algorithm.digest_size) + 1):
        mac = hmac.HMAC(prk, algorithm)
        mac.update(block + info + bytes([counter]))
        block = mac.finalize()
        output += block
    return output[:size]


def context_bytes(context: str | None, aad: bytes) -> bytes:
    """What the derivation is given as context."""
    text = (context or "").encode("utf-8")
    return b"kmsenvelope/1\x00" + struct.pack(">I", len(text)) + text + aad


def seal(suite: Suite, key: bytes, nonce: bytes, plaintext: bytes, aead_aad: bytes = b"") -> bytes:
    """One call of the suite's AEAD."""
    if suite.aead != "AEAD_SM4_GCM":
        return AESGCM(key).encrypt(nonce, plaintext, aead_aad)
    encryptor = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(aead_aad)
    return encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag


@dataclass(frozen=True)
class Keys:
    """What one salt derives from a DEK."""

    suite: Suite
    key: bytes
    base_nonce: bytes
    commitment: bytes

    def nonce(self, index: int) -> bytes:
        """The nonce of chunk ``index``."""
        return (int.from_bytes(self.base_nonce, "big") ^ index).to_bytes(12, "big")

    def seal(self, index: int, plaintext: bytes, aead_aad: bytes = b"") -> bytes:
        """Chunk ``index``, sealed."""
        return seal(self.suite, self.key, self.nonce(index), plaintext, aead_aad)


def derive(
    suite: Suite, dek: bytes, salt: bytes, context: bytes, algorithm: hashes.HashAlgorithm | None = None
) -> Keys:
    """The derivation; ``algorithm`` replaces the suite's hash, for a message that is wrongly made."""
    info = b"c2sp.org/chunked-encryption@v1+" + suite.aead.encode() + b"\x00" + salt + context
    output = expand(algorithm or suite.hash, dek, info, suite.key_size + 44)
    return Keys(suite, output[:-44], output[-44:-32], output[-32:])


def header(
    suite: Suite | int, text: bytes, *, magic: bytes = b"KMSENV", version: int = 1, size: int | None = None
) -> bytes:
    """A header around any JSON part; ``size`` is what it says the length is."""
    suite_id = suite if isinstance(suite, int) else suite.id
    return struct.pack(">6sBBI", magic, version, suite_id, len(text) if size is None else size) + text


RECIPIENT = {"kms": "local", "key_id": "2f6a0c4e", "wrapped": "b3BhcXVl"}


def header_json(context: str | None = None, recipients: list[dict[str, str]] | None = None) -> bytes:
    """The JSON part as an encoder writes it."""
    order = ("kms", "key_id", "region", "alg", "wrapped")
    keys = [{name: member[name] for name in order if name in member} for member in recipients or [RECIPIENT]]
    members: dict[str, object] = {"keys": keys}
    if context is not None:
        members["context"] = context
    return json.dumps(members, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True)
class Message:
    """A whole envelope and what it was made from. ``chunks`` are the sealed chunks."""

    label: str
    suite: Suite
    plaintext: bytes
    context: str | None = None
    aad: bytes = b""
    text: bytes = b""
    dek: bytes = b""
    salt: bytes = b""
    keys: Keys | None = None
    chunks: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def header(self) -> bytes:
        """The header's bytes."""
        return header(self.suite, self.text)

    @property
    def body(self) -> bytes:
        """The body's bytes."""
        assert self.keys is not None
        return self.salt + self.keys.commitment + b"".join(self.chunks)

    @property
    def envelope(self) -> bytes:
        """Header and body."""
        return self.header + self.body

    def with_text(self, text: bytes) -> Message:
        """The same body under another JSON part."""
        return replace(self, text=text)


def message(
    label: str,
    suite: Suite,
    plaintext: bytes,
    *,
    context: str | None = None,
    aad: bytes = b"",
    text: bytes | None = None,
    keys: Keys | None = None,
) -> Message:
    """A message as an encoder makes it. ``text`` replaces the JSON part, ``keys`` the derived keys."""
    dek, salt = seeded(f"{suite.name}/dek", suite.key_size), seeded(f"{suite.name}/{label}/salt", 24)
    keys = keys or derive(suite, dek, salt, context_bytes(context, aad))
    pieces = [plaintext[start : start + CHUNK] for start in range(0, len(plaintext) + 1, CHUNK)]
    chunks = tuple(keys.seal(index, piece) for index, piece in enumerate(pieces))
    text = header_json(context) if text is None else text
    return Message(label, suite, plaintext, context, aad, text, dek, salt, keys, chunks)


def zero_ciphertext(suite: Suite, label: str, size: int) -> Message:
    """A message whose ciphertext is all zeros, so that many chunks are written in few words."""
    keys = message(label, suite, b"").keys
    assert keys is not None
    plaintext = bytearray()
    for index in range(size // CHUNK + 1):
        length = min(CHUNK, size - index * CHUNK)
        plaintext += keys.seal(index, bytes(length))[:length]
    return message(label, suite, bytes(plaintext))
