"""C2SP chunked-encryption v1: derivation, index arithmetic, sealing and opening of chunks.

``cryptography.cobblestone`` is the same construction for the AES suites and whole streams; this module adds
random access and the SM4 suite. Source: https://c2sp.org/chunked-encryption.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

from cryptography import cobblestone
from cryptography.exceptions import AlreadyFinalized, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from .buffers import BytesLike
from .ciphers import NONCE_SIZE, TAG_SIZE, Aead
from .ciphers.openssl import AesGcm
from .errors import TruncatedError
from .suites import Suite

CHUNK = 16_384
SEALED = CHUNK + TAG_SIZE
SALT_SIZE = 24
COMMITMENT_SIZE = 32
BODY_PREFIX = SALT_SIZE + COMMITMENT_SIZE
MAX_CHUNKS = 1 << 38

_LABEL = b"c2sp.org/chunked-encryption@v1+"
_HASHES: dict[str, hashes.HashAlgorithm] = {"SHA512": hashes.SHA512(), "SM3": hashes.SM3()}


class StreamCipher(Protocol):
    """Seals or opens one message as a stream: the interface of ``cryptography.cobblestone``."""

    def update(self, data: BytesLike, /) -> bytes:
        """The output that ``data`` completes; the rest is kept for the next call."""

    def update_into(self, data: BytesLike, buf: bytearray | memoryview, /) -> int:
        """Like ``update``, into ``buf``; returns the bytes written. ``buf`` needs room for all of them."""

    def finalize(self) -> bytes:
        """The output of the last chunk. When opening, raises ``InvalidTag`` if it is not authentic."""


class MessageKeys(NamedTuple):
    """What one salt derives from a DEK."""

    key: bytes
    base_nonce: bytes
    commitment: bytes

    def __repr__(self) -> str:
        return "MessageKeys(...)"


def context_bytes(context_json: str | None, aad: BytesLike = b"") -> bytes:
    """What chunked-encryption is given as its context: format, encryption context, aad."""
    return _context_prefix(context_json) + aad


@lru_cache(maxsize=1024)
def _context_prefix(context_json: str | None) -> bytes:
    context = (context_json or "").encode("utf-8")
    return b"kmsenvelope/1\x00" + len(context).to_bytes(4, "big") + context


def derive(suite: Suite, dek: BytesLike, salt: bytes, context: bytes) -> MessageKeys:
    """Key, base nonce and commitment of one message. Raises ``ValueError`` for a DEK of the wrong size.

    HMAC pads its key with zeros: without that check a DEK and the same DEK with a zero byte would both open.
    """
    if len(dek) != suite.key_size:
        raise ValueError(f"a DEK of {suite} has {suite.key_size} bytes, not {len(dek)}")
    info = _LABEL + suite.aead_name.encode("ascii") + b"\x00" + salt + context
    size = suite.key_size + NONCE_SIZE + COMMITMENT_SIZE
    okm = HKDFExpand(_HASHES[suite.hash_name], size, info).derive(dek)
    nonce_end = suite.key_size + NONCE_SIZE
    return MessageKeys(okm[: suite.key_size], okm[suite.key_size : nonce_end], okm[nonce_end:])


def derive_checked(suite: Suite, dek: BytesLike, prefix: bytes, context: bytes) -> MessageKeys:
    """Like ``derive``, from the 56 bytes that start a body. ``InvalidTag`` if the commitment differs."""
    keys = derive(suite, dek, prefix[:SALT_SIZE], context)
    if not hmac.compare_digest(keys.commitment, prefix[SALT_SIZE:]):
        raise InvalidTag
    return keys


def sealed_size(size: int) -> int:
    """Bytes of the body for a message of ``size`` bytes."""
    return BODY_PREFIX + size + (size // CHUNK + 1) * TAG_SIZE


def plain_size(body_size: int) -> int:
    """Bytes of the message in a body of ``body_size`` bytes.

    Raises ``TruncatedError`` for a size that no whole body has.
    """
    full, last = divmod(body_size - BODY_PREFIX, SEALED)
    if full < 0 or last < TAG_SIZE:
        raise TruncatedError
    return full * CHUNK + last - TAG_SIZE


class ChunkCipher:
    """Seals and opens any chunk of one message by its index. Not for two threads at once."""

    __slots__ = ("_aead", "_base")

    def __init__(self, suite: Suite, keys: MessageKeys) -> None:
        self._aead = _aead(suite, keys.key)
        self._base = int.from_bytes(keys.base_nonce, "big")

    def seal_run(self, first: int, data: BytesLike, out: bytearray | memoryview) -> int:
        """Seal ``data`` as the chunks from index ``first`` into ``out``; returns the bytes written.

        Only the last chunk of a message may be short; an empty ``data`` is one empty chunk.
        """
        return self._aead.seal_run(self._nonces(first, len(data), CHUNK), CHUNK, data, out)

    def open_run(self, first: int, sealed: BytesLike, out: bytearray | memoryview) -> int:
        """Open the chunks from index ``first``; returns the bytes of plaintext in ``out``.

        Raises ``InvalidTag``; what ``out`` holds before the chunk that failed is authentic.
        """
        return self._aead.open_run(self._nonces(first, len(sealed), SEALED), SEALED, sealed, out)

    def _nonces(self, first: int, size: int, step: int) -> list[bytes]:
        if first + size // step >= MAX_CHUNKS:
            raise ValueError("a message holds at most 2**38 chunks (4 PiB)")
        base, end = self._base, first + (-(-size // step) or 1)
        return [(base ^ index).to_bytes(NONCE_SIZE, "big") for index in range(first, end)]


def _aead(suite: Suite, key: bytes) -> Aead:
    if suite is Suite.SM4_GCM:
        from .ciphers.select import sm4_gcm

        return sm4_gcm(key)
    return AesGcm(key)


class _Stream:
    """Cuts a stream into the pieces of one message and keeps the piece that is not whole yet."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._pending = bytearray()
        self._next = 0
        self._run: Callable[[int, BytesLike, memoryview], int] | None = None
        self._finalized = False

    def _feed(self, source: memoryview, out: memoryview) -> int:
        run, step, done = self._run, self._step, 0
        assert run is not None
        if self._pending or len(source) < step:
            take = step - len(self._pending)
            self._pending += source[:take]
            source = source[take:]
            if len(self._pending) < step:
                return 0
            done = run(self._next, self._pending, out)
            self._next += 1
            self._pending.clear()
        whole = len(source) // step
        if whole:
            done += run(self._next, source[: whole * step], out[done:])
            self._next += whole
        self._pending += source[whole * step :]
        return done

    def _check_active(self) -> None:
        if self._finalized:
            raise AlreadyFinalized("the message was already finalized")


class Encryptor(_Stream):
    """Seals one message as a stream, with the interface of ``cryptography.cobblestone``.

    ``salt`` is for test vectors only: two messages under one DEK and one salt give both away.
    """

    def __init__(self, suite: Suite, dek: BytesLike, context: bytes, *, salt: bytes | None = None) -> None:
        super().__init__(CHUNK)
        salt = os.urandom(SALT_SIZE) if salt is None else salt
        keys = derive(suite, dek, salt, context)
        self._run = ChunkCipher(suite, keys).seal_run
        self._head = salt + keys.commitment

    def update(self, data: BytesLike, /) -> bytes:
        """See ``StreamCipher.update``."""
        whole = (len(self._pending) + len(data)) // CHUNK
        out = bytearray(len(self._head) + whole * SEALED)
        self.update_into(data, out)
        return bytes(out)

    def update_into(self, data: BytesLike, buf: bytearray | memoryview, /) -> int:
        """See ``StreamCipher.update_into``."""
        self._check_active()
        out, head = memoryview(buf), self._head
        out[: len(head)] = head
        self._head = b""
        return len(head) + self._feed(memoryview(data), out[len(head) :])

    def finalize(self) -> bytes:
        """See ``StreamCipher.finalize``."""
        self._check_active()
        self._finalized = True
        assert self._run is not None
        last = bytearray(len(self._pending) + TAG_SIZE)
        self._run(self._next, self._pending, memoryview(last))
        return self._head + last


class Decryptor(_Stream):
    """Opens one message as a stream, with the interface of ``cryptography.cobblestone``.

    Raises ``InvalidTag`` for whatever is not authentic; that ends the message.
    """

    def __init__(self, suite: Suite, dek: BytesLike, context: bytes) -> None:
        super().__init__(SEALED)
        self._suite = suite
        self._secret: tuple[bytes, bytes] | None = (bytes(dek), context)
        self._head = bytearray()

    def update(self, data: BytesLike, /) -> bytes:
        """See ``StreamCipher.update``."""
        out = bytearray((len(self._pending) + len(data)) // SEALED * CHUNK)
        size = self.update_into(data, out)
        return bytes(out[:size])

    def update_into(self, data: BytesLike, buf: bytearray | memoryview, /) -> int:
        """See ``StreamCipher.update_into``."""
        self._check_active()
        source = memoryview(data)
        try:
            if self._run is None:
                source = self._take_prefix(source)
                if self._run is None:
                    return 0
            return self._feed(source, memoryview(buf))
        except InvalidTag:
            self._finalized = True
            raise

    def finalize(self) -> bytes:
        """See ``StreamCipher.finalize``."""
        self._check_active()
        self._finalized = True
        if self._run is None or len(self._pending) < TAG_SIZE:
            raise InvalidTag
        last = bytearray(len(self._pending) - TAG_SIZE)
        self._run(self._next, self._pending, memoryview(last))
        return bytes(last)

    def _take_prefix(self, source: memoryview) -> memoryview:
        take = BODY_PREFIX - len(self._head)
        self._head += source[:take]
        if len(self._head) == BODY_PREFIX and self._secret is not None:
            dek, context = self._secret
            self._secret = None
            keys = derive_checked(self._suite, dek, bytes(self._head), context)
            self._run = ChunkCipher(self._suite, keys).open_run
        return source[take:]


_AES_256 = Suite.AES_256_GCM  # looking up an enum's member would tell on small messages


def encryptor(suite: Suite, dek: BytesLike, context: bytes) -> StreamCipher:
    """The stream cipher that seals a new message fastest: Cobblestone for AES, ours for SM4."""
    if suite is _AES_256:
        return cobblestone.Cobblestone256Encryptor(dek, context)
    if suite is Suite.AES_128_GCM:
        return cobblestone.Cobblestone128Encryptor(dek, context)
    return Encryptor(suite, dek, context)


def decryptor(suite: Suite, dek: BytesLike, context: bytes) -> StreamCipher:
    """The stream cipher that opens a whole message fastest."""
    if suite is _AES_256:
        return cobblestone.Cobblestone256Decryptor(dek, context)
    if suite is Suite.AES_128_GCM:
        return cobblestone.Cobblestone128Decryptor(dek, context)
    return Decryptor(suite, dek, context)
