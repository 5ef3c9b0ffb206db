"""Data keys that are enciphered on their way from the KMS: ``EncryptionPublicKey`` of its API."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..errors import KmsError
from .failures import UNEXPECTED_ANSWER
from .forks import ForkLock

_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


class TransitKey:
    """An RSA-2048 key pair of this process that the KMS enciphers data keys to (RSAES_OAEP_SHA_256).

    Made at first use and again after ``fork``; never stored, never pickled. Source: GenerateDataKey, Decrypt.
    """

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._made: tuple[int, rsa.RSAPrivateKey, str] | None = None

    def params(self) -> dict[str, object]:
        """The request members that ask for an enciphered answer."""
        _, pem = self._pair()
        return {"EncryptionPublicKey": pem, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}

    def open(self, enciphered: bytes | bytearray, action: str) -> bytearray:
        """The data key. Raises ``KmsError`` if it was not enciphered to this process."""
        private, _ = self._pair()
        try:
            return bytearray(private.decrypt(bytes(enciphered), _OAEP))
        except ValueError:
            raise KmsError(
                "the answer was not enciphered as asked: this KMS may not know protect_in_transit",
                code=UNEXPECTED_ANSWER,
                action=action,
            ) from None

    def _pair(self) -> tuple[rsa.RSAPrivateKey, str]:
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
                pem = private.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
                self._made = (os.getpid(), private, pem.decode("ascii"))
            return self._made[1], self._made[2]

    def __reduce__(self) -> tuple[type[TransitKey], tuple[()]]:
        return (TransitKey, ())
