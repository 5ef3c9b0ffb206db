"""One message as runs of chunks at known places, so that several threads can share the work on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from .buffers import BytesLike
from .chunked import (
    CHUNK,
    SALT_SIZE,
    SEALED,
    ChunkCipher,
    MessageKeys,
    StreamCipher,
    decryptor,
    derive,
    derive_checked,
    encryptor,
)
from .ciphers import TAG_SIZE
from .suites import Suite

Convert = Callable[[int, BytesLike, memoryview], int]
"""Called with the index of a run's first chunk, whole chunks and room for the result; returns its size."""


class Body(Protocol):
    """How the chunks of one message are sealed or opened.

    ``takes`` and ``gives`` are the sizes of a whole chunk before and after. ``in_order``: the runs must come
    one after the other, from whichever thread; otherwise in any order and at the same time.
    """

    takes: int
    gives: int
    in_order: bool

    def worker(self) -> Convert:
        """What one thread converts runs with. Raises ``InvalidTag`` when opening."""

    def last(self, index: int, rest: BytesLike) -> bytes:
        """What the last, short chunk becomes, after all others. Raises ``InvalidTag`` when opening."""


def sealing(suite: Suite, dek: BytesLike, context: bytes) -> tuple[bytes, Body]:
    """The 56 bytes that a new body starts with, and how its chunks are sealed."""
    if suite is not Suite.SM4_GCM:
        cipher = encryptor(suite, dek, context)
        return cipher.update(b""), _InOrder(cipher, CHUNK, SEALED)
    salt = os.urandom(SALT_SIZE)
    keys = derive(suite, dek, salt, context)
    return salt + keys.commitment, _AnyOrder(suite, keys, CHUNK, SEALED)


def opening(suite: Suite, dek: BytesLike, prefix: bytes, context: bytes) -> Body:
    """How the chunks of a body that starts with ``prefix`` are opened. ``InvalidTag`` if it is not ours."""
    if suite is not Suite.SM4_GCM:
        cipher = decryptor(suite, dek, context)
        cipher.update(prefix)
        return _InOrder(cipher, SEALED, CHUNK)
    return _AnyOrder(suite, derive_checked(suite, dek, prefix, context), SEALED, CHUNK)


class _InOrder:
    """By one stream cipher: Cobblestone works at the speed of memory, so one thread at a time is enough."""

    in_order = True

    def __init__(self, cipher: StreamCipher, takes: int, gives: int) -> None:
        self._cipher = cipher
        self.takes = takes
        self.gives = gives

    def worker(self) -> Convert:
        update_into = self._cipher.update_into
        return lambda first, data, out: update_into(data, out)

    def last(self, index: int, rest: BytesLike) -> bytes:
        return self._cipher.update(rest) + self._cipher.finalize()


class _AnyOrder:
    """By a cipher for each thread: SM4 costs more than reading and writing, and all cores share it."""

    in_order = False

    def __init__(self, suite: Suite, keys: MessageKeys, takes: int, gives: int) -> None:
        self._suite = suite
        self._keys = keys
        self.takes = takes
        self.gives = gives

    def worker(self) -> Convert:
        cipher = ChunkCipher(self._suite, self._keys)
        return cipher.seal_run if self.takes == CHUNK else cipher.open_run

    def last(self, index: int, rest: BytesLike) -> bytes:
        out = bytearray(len(rest) + TAG_SIZE)
        return bytes(out[: self.worker()(index, rest, memoryview(out))])
