"""The hybrid recipient: HPKE in base mode (RFC 9180) with X-Wing, HKDF-SHA256 and AES-256-GCM.

For test vectors: deterministic, and on primitives only. Sources: draft-connolly-cfrg-xwing-kem for the KEM
and the forms of keys, draft-ietf-hpke-pq for its use in HPKE.
"""

from __future__ import annotations

import hashlib
import hmac

import mlkem
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEM_ID, KDF_ID, AEAD_ID = 0x647A, 0x0001, 0x0002
INFO = b"kmsenvelope/1 dek"
LABEL = b"\\./" + b"/^\\"
ENCAPSULATED_SIZE = mlkem.CIPHERTEXT_SIZE + 32

_ALGORITHM = bytes.fromhex("300d060b2b0601040183e62d81c87a")
"""AlgorithmIdentifier of 1.3.6.1.4.1.62253.25722, without parameters."""


class XWingKey:
    """A private key, expanded from its seed of 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        expanded = hashlib.shake_256(seed).digest(96)
        self.seed = seed
        ek, self._dk = mlkem.keygen(expanded[:32], expanded[32:64])
        self._x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.public = ek + self._x25519.public_key().public_bytes_raw()
        """ML-KEM-768 (1 184 bytes), then X25519."""

    @property
    def pkcs8(self) -> bytes:
        """As PrivateKeyInfo (RFC 5958) in DER."""
        return b"\x30\x34\x02\x01\x00" + _ALGORITHM + b"\x04\x20" + self.seed

    @property
    def spki(self) -> bytes:
        """As SubjectPublicKeyInfo (RFC 5280) in DER."""
        bits = b"\x03\x82\x04\xc1\x00" + self.public
        return b"\x30\x82" + (len(_ALGORITHM) + len(bits)).to_bytes(2, "big") + _ALGORITHM + bits

    def decapsulate(self, encapsulated: bytes) -> bytes:
        """The shared secret."""
        ct_m, ct_x = encapsulated[: mlkem.CIPHERTEXT_SIZE], encapsulated[mlkem.CIPHERTEXT_SIZE :]
        ss_m = mlkem.decaps(self._dk, ct_m)
        ss_x = self._x25519.exchange(X25519PublicKey.from_public_bytes(ct_x))
        return combine(ss_m, ss_x, ct_x, self.public[-32:])


def encapsulate(public: bytes, seed: bytes) -> tuple[bytes, bytes]:
    """Shared secret and encapsulated key, from a seed of 64 bytes."""
    ephemeral = X25519PrivateKey.from_private_bytes(seed[32:])
    ct_x = ephemeral.public_key().public_bytes_raw()
    ss_x = ephemeral.exchange(X25519PublicKey.from_public_bytes(public[-32:]))
    ss_m, ct_m = mlkem.encaps(public[:-32], seed[:32])
    return combine(ss_m, ss_x, ct_x, public[-32:]), ct_m + ct_x


def combine(ss_m: bytes, ss_x: bytes, ct_x: bytes, pk_x: bytes) -> bytes:
    """X-Wing's combiner."""
    return hashlib.sha3_256(ss_m + ss_x + ct_x + pk_x + LABEL).digest()


def key_schedule(shared: bytes, info: bytes, aead_id: int = AEAD_ID) -> tuple[bytes, bytes]:
    """Key and base nonce: RFC 9180, section 5.1, in base mode, for an AEAD with a key of 32 bytes."""
    suite = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (KEM_ID, KDF_ID, aead_id))
    context = b"\x00" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    secret = _extract(suite, shared, b"secret", b"")
    return _expand(suite, secret, b"key", context, 32), _expand(suite, secret, b"base_nonce", context, 12)


def seal(
    public: bytes, data: bytes, seed: bytes, info: bytes = INFO, aad: bytes = b""
) -> tuple[bytes, bytes]:
    """Encapsulated key, then ciphertext and tag of the first message."""
    shared, encapsulated = encapsulate(public, seed)
    return encapsulated, seal_with(shared, data, info, aad)


def seal_with(shared: bytes, data: bytes, info: bytes = INFO, aad: bytes = b"") -> bytes:
    """Ciphertext and tag of the first message under a shared secret."""
    key, nonce = key_schedule(shared, info)
    return AESGCM(key).encrypt(nonce, data, aad)


def _extract(suite: bytes, salt: bytes, label: bytes, data: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + data, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """LabeledExpand for up to 32 bytes: the first block of HKDF-Expand."""
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labeled + b"\x01", "sha256")[:size]
