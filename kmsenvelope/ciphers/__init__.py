"""The AEADs under chunked encryption: 12-byte nonce, 16-byte tag, no associated data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..buffers import BytesLike

NONCE_SIZE = 12
TAG_SIZE = 16


class Aead(Protocol):
    """One AEAD under one key. An instance is used by one thread at a time.

    ``out`` must not overlap the input. Opening raises ``cryptography.exceptions.InvalidTag``.
    """

    def seal_into(self, nonce: bytes, data: BytesLike, out: memoryview, aad: bytes = b"") -> None:
        """Seal ``data`` into ``out``, which is exactly 16 bytes longer. Only test vectors have ``aad``."""

    def open_into(self, nonce: bytes, sealed: BytesLike, out: memoryview, aad: bytes = b"") -> None:
        """Open ``sealed`` into ``out``, which is exactly 16 bytes shorter; after a failure it is zero."""

    def seal_run(
        self, nonces: Sequence[bytes], step: int, data: BytesLike, out: bytearray | memoryview
    ) -> int:
        """Seal ``data`` in pieces of ``step`` bytes, one for each nonce; returns the bytes written.

        The last piece may be shorter; empty ``data`` is one empty piece. Each piece grows by 16 bytes.
        """

    def open_run(
        self, nonces: Sequence[bytes], step: int, sealed: BytesLike, out: bytearray | memoryview
    ) -> int:
        """Open ``sealed`` in pieces of ``step`` bytes, tag included; returns the bytes written.

        What ``out`` holds before the piece that failed is authentic, and of that piece it holds nothing.
        """
