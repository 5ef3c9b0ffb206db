"""AES-GCM and SM4-GCM by OpenSSL, through cryptography."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..buffers import BytesLike
from . import TAG_SIZE

_OneShot = Callable[[bytes, BytesLike, bytes, memoryview], object]
"""Seals or opens one piece: nonce, input, aad, output of exactly the right size."""


class AesGcm:
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

    def seal_run(
        self, nonces: Sequence[bytes], step: int, data: BytesLike, out: bytearray | memoryview
    ) -> int:
        """See ``Aead.seal_run``."""
        return _run(self._aead.encrypt_into, nonces, step, memoryview(data), memoryview(out), growth=TAG_SIZE)

    def open_run(
        self, nonces: Sequence[bytes], step: int, sealed: BytesLike, out: bytearray | memoryview
    ) -> int:
        """See ``Aead.open_run``."""
        return _run(
            self._aead.decrypt_into, nonces, step, memoryview(sealed), memoryview(out), growth=-TAG_SIZE
        )


class Sm4Gcm:
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

    def seal_run(
        self, nonces: Sequence[bytes], step: int, data: BytesLike, out: bytearray | memoryview
    ) -> int:
        """See ``Aead.seal_run``."""
        return _run(self._seal, nonces, step, memoryview(data), memoryview(out), growth=TAG_SIZE)

    def open_run(
        self, nonces: Sequence[bytes], step: int, sealed: BytesLike, out: bytearray | memoryview
    ) -> int:
        """See ``Aead.open_run``."""
        return _run(self._open, nonces, step, memoryview(sealed), memoryview(out), growth=-TAG_SIZE)

    def _seal(self, nonce: bytes, data: BytesLike, aad: bytes, out: memoryview) -> None:
        self.seal_into(nonce, data, out, aad)

    def _open(self, nonce: bytes, sealed: BytesLike, aad: bytes, out: memoryview) -> None:
        self.open_into(nonce, sealed, out, aad)


def _run(
    convert: _OneShot,
    nonces: Sequence[bytes],
    step: int,
    source: memoryview,
    target: memoryview,
    *,
    growth: int,
) -> int:
    """Convert ``source`` in pieces of ``step`` bytes, one for each nonce; each grows by ``growth`` bytes."""
    pieces = -(-len(source) // step) or 1
    if len(nonces) != pieces:
        raise ValueError(f"{pieces} pieces need as many nonces, not {len(nonces)}")
    step_out = step + growth
    at = done = 0
    for nonce in nonces[:-1]:  # the loop of every reader: kept bare
        end, stop = at + step, done + step_out
        convert(nonce, source[at:end], b"", target[done:stop])
        at, done = end, stop
    last = source[at:]
    stop = done + len(last) + growth
    if stop < done:
        raise InvalidTag
    convert(nonces[-1], last, b"", target[done:stop])
    return stop
