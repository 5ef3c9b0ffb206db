"""AES-GCM and SM4-GCM by OpenSSL, through cryptography."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..buffers import BytesLike
from . import TAG_SIZE


class AesGcm:
    """AES-128-GCM or AES-256-GCM (NIST SP 800-38D), by the length of the key."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal_into(self, nonce: bytes, data: BytesLike, out: memoryview) -> None:
        """See ``Aead.seal_into``."""
        self._aead.encrypt_into(nonce, data, None, out)

    def open_into(self, nonce: bytes, sealed: BytesLike, out: memoryview) -> None:
        """See ``Aead.open_into``."""
        self._aead.decrypt_into(nonce, sealed, None, out)


class Sm4Gcm:
    """SM4-GCM (GB/T 32907, RFC 8998). cryptography has no one-shot class for it."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = algorithms.SM4(key)

    def seal_into(self, nonce: bytes, data: BytesLike, out: memoryview) -> None:
        """See ``Aead.seal_into``."""
        encryptor = Cipher(self._cipher, modes.GCM(nonce)).encryptor()
        size = encryptor.update_into(data, out)
        encryptor.finalize()
        out[size:] = encryptor.tag

    def open_into(self, nonce: bytes, sealed: BytesLike, out: memoryview) -> None:
        """See ``Aead.open_into``."""
        view = memoryview(sealed)
        decryptor = Cipher(self._cipher, modes.GCM(nonce)).decryptor()
        try:
            decryptor.update_into(view[:-TAG_SIZE], out)
            decryptor.finalize_with_tag(bytes(view[-TAG_SIZE:]))
        except InvalidTag:
            out[:] = bytes(len(out))
            raise
