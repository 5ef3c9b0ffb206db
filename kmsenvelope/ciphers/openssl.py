"""AES-GCM and SM4-GCM by OpenSSL, through cryptography."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..buffers import BytesLike
from . import TAG_SIZE


class _PieceByPiece(ABC):
    """Runs as a loop over single pieces."""

    __slots__ = ()

    @abstractmethod
    def seal_into(self, nonce: bytes, data: BytesLike, out: memoryview, aad: bytes = b"") -> None:
        """See ``Aead.seal_into``."""

    @abstractmethod
    def open_into(self, nonce: bytes, sealed: BytesLike, out: memoryview, aad: bytes = b"") -> None:
        """See ``Aead.open_into``."""

    def seal_run(
        self, nonces: Sequence[bytes], step: int, data: BytesLike, out: bytearray | memoryview
    ) -> int:
        """See ``Aead.seal_run``."""
        source, target, done = memoryview(data), memoryview(out), 0
        for nonce, start in zip(nonces, range(0, len(source) or 1, step), strict=True):
            piece = source[start : start + step]
            end = done + len(piece) + TAG_SIZE
            self.seal_into(nonce, piece, target[done:end])
            done = end
        return done

    def open_run(
        self, nonces: Sequence[bytes], step: int, sealed: BytesLike, out: bytearray | memoryview
    ) -> int:
        """See ``Aead.open_run``."""
        source, target, done = memoryview(sealed), memoryview(out), 0
        for nonce, start in zip(nonces, range(0, len(source) or 1, step), strict=True):
            piece = source[start : start + step]
            if len(piece) < TAG_SIZE:
                raise InvalidTag
            end = done + len(piece) - TAG_SIZE
            self.open_into(nonce, piece, target[done:end])
            done = end
        return done


class AesGcm(_PieceByPiece):
    """AES-128-GCM or AES-256-GCM (NIST SP 800-38D), by the length of the key."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal_into(self, nonce: bytes, data: BytesLike, out: memoryview, aad: bytes = b"") -> None:
        """See ``Aead.seal_into``."""
        self._aead.encrypt_into(nonce, data, aad, out)

    def open_into(self, nonce: bytes, sealed: BytesLike, out: memoryview, aad: bytes = b"") -> None:
        """See ``Aead.open_into``."""
        self._aead.decrypt_into(nonce, sealed, aad, out)


class Sm4Gcm(_PieceByPiece):
    """SM4-GCM (GB/T 32907, RFC 8998). cryptography has no one-shot class for it."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = algorithms.SM4(key)

    def seal_into(self, nonce: bytes, data: BytesLike, out: memoryview, aad: bytes = b"") -> None:
        """See ``Aead.seal_into``."""
        encryptor = Cipher(self._cipher, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(aad)
        size = encryptor.update_into(data, out)
        encryptor.finalize()
        out[size:] = encryptor.tag

    def open_into(self, nonce: bytes, sealed: BytesLike, out: memoryview, aad: bytes = b"") -> None:
        """See ``Aead.open_into``."""
        view = memoryview(sealed)
        decryptor = Cipher(self._cipher, modes.GCM(nonce)).decryptor()
        decryptor.authenticate_additional_data(aad)
        try:
            decryptor.update_into(view[:-TAG_SIZE], out)
            decryptor.finalize_with_tag(bytes(view[-TAG_SIZE:]))
        except InvalidTag:
            out[:] = bytes(len(out))
            raise
