"""The kinds of key pairs a DEK can be wrapped with: RSA, SM2 and the hybrid post-quantum one."""

from __future__ import annotations

from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from . import xwing
from .der import OID, SEQUENCE, Reader
from .sm2 import SM2PrivateKey, SM2PublicKey

RSA_OAEP = "RSAES_OAEP_SHA_256"
SM2_ASN1 = "SM2_C1C3C2_ASN1"
HYBRID = "HPKE_MLKEM768_X25519_HKDF_SHA256_AES_256_GCM"

RSA_SIZES = (2048, 3072, 4096)
MAX_SM2_DATA = 146
"""Bytes: AsymmetricSm2Decrypt takes a ciphertext of at most 256 bytes in ASN.1."""

_RSA_ID = bytes.fromhex("2a864886f70d010101")
_EC_ID = bytes.fromhex("2a8648ce3d0201")
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


class Encryptor(Protocol):
    """A public key of one kind."""

    alg: str
    name: str

    @property
    def max_size(self) -> int | None:
        """Bytes that it encrypts at most, ``None`` for no limit."""

    def to_der(self) -> bytes:
        """As SubjectPublicKeyInfo."""

    def encrypt(self, data: bytes, purpose: bytes) -> bytes:
        """``data`` encrypted to this key; ``purpose`` is bound to it where the algorithm can."""


class Decryptor(Protocol):
    """A private key of one kind."""

    def public(self) -> Encryptor:
        """Its public key."""

    def decrypt(self, ciphertext: bytes, purpose: bytes) -> bytes:
        """What ``Encryptor.encrypt`` encrypted. ``ValueError`` if that fails."""


class RsaEncryptor:
    """RSA-2048, 3072 or 4096 with OAEP, SHA-256 and MGF1 of SHA-256 (RFC 8017)."""

    alg = RSA_OAEP

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        if key.key_size not in RSA_SIZES:
            raise ValueError(f"an RSA key of {key.key_size} bits: 2048, 3072 or 4096 are taken")
        self._key = key
        self.name = f"RSA-{key.key_size}"

    @property
    def max_size(self) -> int | None:
        """Bytes: the modulus without two hashes and two bytes."""
        return self._key.key_size // 8 - 2 * 32 - 2

    def to_der(self) -> bytes:
        """As SubjectPublicKeyInfo."""
        return self._key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def encrypt(self, data: bytes, purpose: bytes) -> bytes:
        """RSAES-OAEP."""
        return self._key.encrypt(data, _OAEP)


class RsaDecryptor:
    """The private key of ``RsaEncryptor``."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self._public = RsaEncryptor(key.public_key())

    def public(self) -> Encryptor:
        """Its public key."""
        return self._public

    def decrypt(self, ciphertext: bytes, purpose: bytes) -> bytes:
        """RSAES-OAEP."""
        return self._key.decrypt(ciphertext, _OAEP)


class Sm2Encryptor:
    """SM2 (GB/T 32918.4), ciphertext C1 C3 C2 in ASN.1. Needs the extra ``gm``."""

    alg = SM2_ASN1
    name = "SM2"

    def __init__(self, key: SM2PublicKey) -> None:
        self._key = key

    @property
    def max_size(self) -> int | None:
        """Bytes that the KMS decrypts at most."""
        return MAX_SM2_DATA

    def to_der(self) -> bytes:
        """As SubjectPublicKeyInfo."""
        return self._key.to_der()

    def encrypt(self, data: bytes, purpose: bytes) -> bytes:
        """C1 C3 C2 in ASN.1."""
        return self._key.encrypt(data)


class Sm2Decryptor:
    """The private key of ``Sm2Encryptor``."""

    def __init__(self, key: SM2PrivateKey) -> None:
        self._key = key

    def public(self) -> Encryptor:
        """Its public key."""
        return Sm2Encryptor(self._key.public_key())

    def decrypt(self, ciphertext: bytes, purpose: bytes) -> bytes:
        """C1 C3 C2 in ASN.1."""
        return self._key.decrypt(ciphertext)


class HybridEncryptor:
    """ML-KEM-768 with X25519 through HPKE; ``purpose`` is the HPKE info."""

    alg = HYBRID
    name = "ML-KEM-768 with X25519"

    def __init__(self, key: xwing.XWingPublicKey) -> None:
        self._key = key

    @property
    def max_size(self) -> int | None:
        """No limit."""
        return None

    def to_der(self) -> bytes:
        """As SubjectPublicKeyInfo."""
        return self._key.to_der()

    def encrypt(self, data: bytes, purpose: bytes) -> bytes:
        """Encapsulated key, ciphertext and tag."""
        return self._key.encrypt(data, purpose)


class HybridDecryptor:
    """The private key of ``HybridEncryptor``."""

    def __init__(self, key: xwing.XWingPrivateKey) -> None:
        self._key = key

    def public(self) -> Encryptor:
        """Its public key."""
        return HybridEncryptor(self._key.public_key())

    def decrypt(self, ciphertext: bytes, purpose: bytes) -> bytes:
        """What ``HybridEncryptor`` encrypted."""
        return self._key.decrypt(ciphertext, purpose)

    def to_der(self) -> bytes:
        """As an unencrypted PKCS #8 PrivateKeyInfo."""
        return self._key.to_der()


def load_public(der: bytes) -> Encryptor:
    """The public key in SubjectPublicKeyInfo, or of RSA in PKCS #1. ``ValueError`` for any other."""
    kind = _kind(der, skip_version=False)
    if kind == _EC_ID:
        return Sm2Encryptor(SM2PublicKey.from_der(der))
    if kind == xwing.OBJECT_ID:
        return HybridEncryptor(xwing.XWingPublicKey.from_der(der))
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key, or a damaged one") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not a key to encrypt with: RSA, SM2 and hybrid ML-KEM-768 with X25519 are taken")
    return RsaEncryptor(key)


def load_private(der: bytes, password: bytes | None) -> Decryptor:
    """The private key in PKCS #8, RSA also encrypted. ``ValueError`` for any other or a wrong password."""
    kind = _kind(der, skip_version=True)
    if kind == _EC_ID:
        return Sm2Decryptor(SM2PrivateKey.from_der(der))
    if kind == xwing.OBJECT_ID:
        return HybridDecryptor(xwing.XWingPrivateKey.from_der(der))
    if kind is None and _is_ec_key(der):
        return Sm2Decryptor(SM2PrivateKey.from_der(der))
    key = _load_with_cryptography(der, password)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not a key to decrypt with: RSA, SM2 and hybrid ML-KEM-768 with X25519 are taken")
    return RsaDecryptor(key)


def _load_with_cryptography(der: bytes, password: bytes | None) -> Any:
    try:
        return serialization.load_der_private_key(der, password)
    except TypeError:
        wanted = "is encrypted: give its password" if password is None else "is not encrypted: no password"
        raise ValueError(f"the private key {wanted}") from None
    except UnsupportedAlgorithm:
        raise ValueError(
            "an encrypted key of a kind that only opens unencrypted: use openssl pkcs8 -topk8 -nocrypt"
        ) from None
    except ValueError:
        raise ValueError("not a private key, a damaged one, or a wrong password") from None


def _kind(der: bytes, *, skip_version: bool) -> bytes | None:
    """The algorithm's object identifier, ``None`` where there is none to find."""
    try:
        info = Reader(der).sequence()
        if skip_version:
            info.integer()
        return info.sequence().take(OID)
    except ValueError:
        return None


def _is_ec_key(der: bytes) -> bool:
    try:
        info = Reader(der).sequence()
        return info.integer() == 1 and info.next_tag() not in (SEQUENCE, None)
    except ValueError:
        return False
