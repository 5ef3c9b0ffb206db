"""The AEADs under chunked encryption: 12-byte nonce, 16-byte tag, no associated data."""

from __future__ import annotations

from typing import Protocol

from ..buffers import BytesLike

NONCE_SIZE = 12
TAG_SIZE = 16


class Aead(Protocol):
    """One AEAD under one key. An instance is used by one thread at a time."""

    def seal_into(self, nonce: bytes, data: BytesLike, out: memoryview) -> None:
        """Seal ``data`` into ``out``, which is exactly 16 bytes longer."""

    def open_into(self, nonce: bytes, sealed: BytesLike, out: memoryview) -> None:
        """Open ``sealed`` into ``out``, which is exactly 16 bytes shorter.

        Raises ``cryptography.exceptions.InvalidTag``; ``out`` then holds no plaintext.
        """
