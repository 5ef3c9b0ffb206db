"""A private key held by its owner, outside any KMS: for emergencies, for tests, for hybrid keys."""

from __future__ import annotations

import base64
from typing import NoReturn

from ..buffers import BytesLike, byte_view
from ..errors import AuthenticationError
from ..header import Recipient
from .asymmetric import Decryptor, HybridDecryptor, load_private
from .pem import read_pem, write_pem
from .public import DATA_PURPOSE, LOCAL_KEY, WRAP_PURPOSE, PublicKey
from .xwing import XWingPrivateKey


class PrivateKey:
    """The other half of a ``PublicKey``. It opens what was wrapped for that, and can wrap as well.

    The owner keeps it safe: it is in memory here, and it has none of a KMS's permissions and audit.
    """

    def __init__(
        self, key: Decryptor, key_id: str | None = None, kms: str = LOCAL_KEY, region: str | None = None
    ) -> None:
        self._key = key
        self.public_key = PublicKey(key.public(), key_id, kms, region)

    @classmethod
    def from_pem(
        cls,
        pem: str | bytes,
        password: str | bytes | None = None,
        *,
        key_id: str | None = None,
        kms: str = LOCAL_KEY,
        region: str | None = None,
    ) -> PrivateKey:
        """From PEM text: PKCS #8, or what ``openssl ecparam -name SM2 -genkey`` and old RSA tools write.

        ``password`` decrypts an encrypted RSA key. ``key_id``, ``kms`` and ``region`` are those that its
        public key was given, by default those of a key in no KMS. Raises ``ValueError`` for anything else
        than a private key of a kind that ``PublicKey`` takes, and for a wrong password.
        """
        _, der = read_pem(pem, private=True)
        secret = password.encode("utf-8") if isinstance(password, str) else password
        return cls(load_private(der, secret), key_id, kms, region)

    @classmethod
    def generate_hybrid(cls) -> PrivateKey:
        """A new hybrid key of ML-KEM-768 and X25519, safe against quantum computers too."""
        return cls(HybridDecryptor(XWingPrivateKey.generate()))

    @property
    def key_id(self) -> str:
        """The key id, by default the fingerprint of the public key."""
        return self.public_key.key_id

    def to_pem(self) -> str:
        """A hybrid key as unencrypted PKCS #8 in PEM: a secret. ``TypeError`` for other kinds of key."""
        if not isinstance(self._key, HybridDecryptor):
            raise TypeError("only hybrid keys are made here and written: keep the file this one came from")
        return write_pem("PRIVATE KEY", self._key.to_der())

    def wrap(self, dek: BytesLike, context_json: str | None) -> Recipient:
        """As ``PublicKey.wrap``."""
        return self.public_key.wrap(dek, context_json)

    def opens(self, recipient: Recipient) -> bool:
        """Whether the recipient names this key and the way it was wrapped."""
        return self.public_key.opens(recipient) and recipient.alg == self.public_key.alg

    def unwrap(self, recipient: Recipient, context_json: str | None) -> bytearray:
        """The DEK. Raises ``AuthenticationError`` if it was not wrapped for this key, or altered."""
        if not self.opens(recipient):
            raise ValueError(f"{self} does not open {recipient}")
        try:
            wrapped = base64.b64decode(recipient.wrapped, validate=True)
            return bytearray(self._key.decrypt(wrapped, WRAP_PURPOSE))
        except ValueError:
            raise AuthenticationError(
                "the wrapped data key is damaged, or was made for another key"
            ) from None

    def decrypt(self, ciphertext: BytesLike) -> bytes:
        """What ``PublicKey.encrypt`` encrypted. Raises ``AuthenticationError`` if altered or not for it."""
        try:
            return self._key.decrypt(bytes(byte_view(ciphertext, "ciphertext")), DATA_PURPOSE)
        except ValueError:
            raise AuthenticationError("the ciphertext is damaged, or was made for another key") from None

    def __str__(self) -> str:
        return str(self.public_key)

    def __repr__(self) -> str:
        return f"<PrivateKey {self}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled: read it from its file in each process")
