"""Hybrid post-quantum keys: ML-KEM-768 with X25519 (X-Wing), used through HPKE.

Source: draft-connolly-cfrg-xwing-kem (key forms, expansion of the seed, object identifier), RFC 9180 and
draft-ietf-hpke-pq (KEM 0x647a), all of it by ``cryptography``; FIPS 203. Whoever records a wrapped DEK today
must break both ML-KEM and X25519 to open it later.
"""

from __future__ import annotations

import functools
import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from .der import BIT_STRING, OCTET_STRING, OID, Reader, integer, sequence, tlv

OBJECT_ID = bytes.fromhex("2b0601040183e62d81c87a")
"""1.3.6.1.4.1.62253.25722, id-XWing."""

_ALGORITHM = sequence(tlv(OID, OBJECT_ID))
_MLKEM_SIZE, _X25519_SIZE, _SEED_SIZE = 1184, 32, 32


@functools.cache
def _suite() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class XWingPublicKey:
    """1 216 bytes: an ML-KEM-768 and an X25519 public key. ``ValueError`` for anything else."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != _MLKEM_SIZE + _X25519_SIZE:
            raise ValueError(f"a hybrid public key has {_MLKEM_SIZE + _X25519_SIZE} bytes, not {len(raw)}")
        self._raw = raw
        self._key = MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_SIZE]),
            x25519.X25519PublicKey.from_public_bytes(raw[_MLKEM_SIZE:]),
        )

    @classmethod
    def from_der(cls, der: bytes) -> XWingPublicKey:
        """From SubjectPublicKeyInfo."""
        outer = Reader(der)
        info = outer.sequence()
        outer.end()
        _check_algorithm(info)
        raw = info.bits()
        info.end()
        return cls(raw)

    def to_der(self) -> bytes:
        """As SubjectPublicKeyInfo."""
        return sequence(_ALGORITHM, tlv(BIT_STRING, b"\0" + self._raw))

    def encrypt(self, data: bytes, info: bytes) -> bytes:
        """HPKE in base mode, one message: encapsulated key (1 120 bytes), ciphertext and tag."""
        return _suite().encrypt(data, self._key, info)


class XWingPrivateKey:
    """A seed of 32 bytes, from which both private keys are derived."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != _SEED_SIZE:
            raise ValueError(f"a hybrid private key has {_SEED_SIZE} bytes, not {len(seed)}")
        expanded = hashlib.shake_256(seed).digest(96)
        self._seed = seed
        self._mlkem = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self._x25519 = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])

    @classmethod
    def generate(cls) -> XWingPrivateKey:
        """A new key."""
        return cls(secrets.token_bytes(_SEED_SIZE))

    @classmethod
    def from_der(cls, der: bytes) -> XWingPrivateKey:
        """From an unencrypted PKCS #8 PrivateKeyInfo."""
        outer = Reader(der)
        info = outer.sequence()
        outer.end()
        if info.integer() != 0:
            raise ValueError("not an unencrypted PKCS #8 private key of version 0")
        _check_algorithm(info)
        seed = info.take(OCTET_STRING)
        info.end()
        return cls(seed)

    def to_der(self) -> bytes:
        """As an unencrypted PKCS #8 PrivateKeyInfo."""
        return sequence(integer(0), _ALGORITHM, tlv(OCTET_STRING, self._seed))

    def public_key(self) -> XWingPublicKey:
        """The key that others encrypt to."""
        raw = self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()
        return XWingPublicKey(raw)

    def decrypt(self, ciphertext: bytes, info: bytes) -> bytes:
        """What ``encrypt`` encrypted. ``ValueError`` if altered, or for another key or purpose."""
        try:
            return _suite().decrypt(ciphertext, MLKEM768X25519PrivateKey(self._mlkem, self._x25519), info)
        except InvalidTag:
            raise ValueError("the ciphertext was altered or is for another key") from None


def _check_algorithm(info: Reader) -> None:
    algorithm = info.sequence()
    if algorithm.take(OID) != OBJECT_ID:
        raise ValueError("not a hybrid ML-KEM-768 and X25519 key")
    algorithm.end()
