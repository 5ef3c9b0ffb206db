"""A public key as a recipient: whoever has it can encrypt, and only the private key's owner can read."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from ..buffers import BytesLike, byte_view
from ..header import Recipient
from .asymmetric import Encryptor, load_public
from .pem import read_pem, write_pem

LOCAL_KEY = "local-key"
"""The ``kms`` of a recipient whose private key is in no KMS."""

WRAP_PURPOSE = b"kmsenvelope/1 dek"
DATA_PURPOSE = b"kmsenvelope/1 data"

_KMS_WITH_REGIONS = "tencent"


class PublicKey:
    """RSA-2048, 3072 or 4096 (OAEP with SHA-256), SM2 (extra ``gm``), or hybrid ML-KEM-768 with X25519.

    Made by ``from_pem``, ``from_der`` or ``kms.public_key(key_id)``. It makes no KMS call: a client of only
    public keys makes DEKs itself, needs no credentials, and cannot decrypt.

    RSA and SM2 encryption bind no encryption context to the DEK. It does not need to be: context and aad are
    bound in the derivation of the body's key, so an envelope with another context does not open.
    """

    def __init__(self, key: Encryptor, key_id: str | None, kms: str, region: str | None) -> None:
        self._key = key
        self._der = key.to_der()
        if kms == _KMS_WITH_REGIONS and (key_id is None or region is None):
            raise ValueError("a public key of Tencent Cloud KMS needs its key_id and region")
        self.key_id = self.fingerprint if key_id is None else key_id
        self.kms = kms
        self.region = region
        for name, value in (("key_id", self.key_id), ("kms", kms), ("region", region)):
            if value is not None and (not value or not value.isascii() or not value.isprintable()):
                raise ValueError(f"{name} must be printable ASCII")

    @classmethod
    def from_pem(
        cls,
        pem: str | bytes,
        *,
        key_id: str | None = None,
        kms: str = LOCAL_KEY,
        region: str | None = None,
        fingerprint: str | None = None,
    ) -> PublicKey:
        """From PEM text. ``key_id``, ``kms`` and ``region`` say who opens: as for ``from_der``."""
        _, der = read_pem(pem, private=False)
        return cls.from_der(der, key_id=key_id, kms=kms, region=region, fingerprint=fingerprint)

    @classmethod
    def from_der(
        cls,
        der: BytesLike,
        *,
        key_id: str | None = None,
        kms: str = LOCAL_KEY,
        region: str | None = None,
        fingerprint: str | None = None,
    ) -> PublicKey:
        """From SubjectPublicKeyInfo (RFC 5280).

        For a key of Tencent Cloud KMS give its ``key_id``, ``kms="tencent"`` and ``region``; for one of your
        own nothing: it then goes by its fingerprint. With ``fingerprint`` (SHA-256 of the DER, 64 hex digits,
        colons allowed) any other key is refused. Raises ``ValueError`` for a private key, a small RSA key,
        another curve or kind, a damaged key, or a fingerprint that differs.
        """
        key = cls(load_public(bytes(byte_view(der, "der"))), key_id, kms, region)
        if fingerprint is not None and not hmac.compare_digest(_normal(fingerprint), key.fingerprint):
            raise ValueError(f"not the pinned key: its fingerprint is {key.fingerprint}")
        return key

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key as SubjectPublicKeyInfo, 64 hex digits. Compare it over another channel."""
        return hashlib.sha256(self._der).hexdigest()

    @property
    def alg(self) -> str:
        """How it encrypts: the ``alg`` of its recipients, for RSA and SM2 also the KMS's name for it."""
        return self._key.alg

    @property
    def max_size(self) -> int | None:
        """Bytes that ``encrypt`` takes at most, ``None`` for no limit."""
        return self._key.max_size

    def to_pem(self) -> str:
        """As PEM text, label ``PUBLIC KEY``."""
        return write_pem("PUBLIC KEY", self._der)

    def to_der(self) -> bytes:
        """As SubjectPublicKeyInfo."""
        return self._der

    def wrap(self, dek: BytesLike, context_json: str | None) -> Recipient:
        """The recipient that holds ``dek`` encrypted to this key."""
        wrapped = base64.b64encode(self._key.encrypt(bytes(dek), WRAP_PURPOSE)).decode("ascii")
        return Recipient(self.kms, self.key_id, wrapped, self.region, self.alg)

    def opens(self, recipient: Recipient) -> bool:
        """Whether the recipient names this key; its private key is what opens it."""
        return (recipient.kms, recipient.region, recipient.key_id) == (self.kms, self.region, self.key_id)

    def encrypt(self, data: BytesLike) -> bytes:
        """Small ``data`` encrypted to this key alone, without an envelope.

        ``Kms.asymmetric_decrypt`` or ``PrivateKey.decrypt`` opens it. RSA-2048 takes 190 bytes, SM2 146;
        ``ValueError`` says so for more, and for empty data.
        """
        view = byte_view(data)
        limit = self.max_size
        if limit is not None and view.nbytes > limit:
            raise ValueError(
                f"{view.nbytes} bytes: {self._key.name} encrypts at most {limit}. Use an envelope: "
                "EnvelopeClient(public_key).encrypt(data)"
            )
        if not view.nbytes:
            raise ValueError("there is nothing to encrypt")
        return self._key.encrypt(bytes(view), DATA_PURPOSE)

    def __str__(self) -> str:
        return f"{self.kms}:{self.region}/{self.key_id}" if self.region else f"{self.kms}:{self.key_id}"

    def __repr__(self) -> str:
        return f"<PublicKey {self._key.name} {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and (str(self), self._der) == (str(other), other._der)

    def __hash__(self) -> int:
        return hash((str(self), self._der))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (self._der, self.key_id, self.kms, self.region))


def _restore(der: bytes, key_id: str, kms: str, region: str | None) -> PublicKey:
    return PublicKey.from_der(der, key_id=key_id, kms=kms, region=region)


def _normal(fingerprint: str) -> str:
    text = fingerprint.replace(":", "").lower()
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise ValueError("a fingerprint is a SHA-256: 64 hex digits")
    return text
