"""The header of an envelope: bytes to values and back, with every refusal of docs/format.md."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from .buffers import BytesLike
from .context import decode_context, strict_json
from .errors import FormatError
from .suites import BY_ID, Suite

MAGIC = b"KMSENV"
VERSION = 1
PREFIX_SIZE = 12
MAX_JSON = 65_536
MAX_RECIPIENTS = 16

_KNOWN_SIZE = 4096
_PREFIX = struct.Struct(">6sBBI")
_SIZE = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Recipient:
    """One key that can open the envelope, with the DEK wrapped for it.

    ``kms`` names the kind of service (``"tencent"``, ``"local"``), ``wrapped`` is the wrapped DEK: verbatim
    ``CiphertextBlob`` for a symmetric CMK, Base64 for a public key, whose ``alg`` says how it was wrapped.
    """

    kms: str
    key_id: str
    wrapped: str
    region: str | None = None
    alg: str | None = None

    def __str__(self) -> str:
        place = f"{self.kms}:{self.region}/" if self.region else f"{self.kms}:"
        return place + self.key_id


@dataclass(frozen=True)
class Header:
    """What an envelope says of itself. Nothing here is authenticated until the body opens.

    ``context_json`` is the exact text that the KMS was given as ``EncryptionContext``; ``context`` its pairs.
    """

    suite: Suite
    recipients: tuple[Recipient, ...]
    context_json: str | None = None

    @property
    def context(self) -> dict[str, str]:
        """The encryption context, empty if there is none. The caller's own copy: headers are shared."""
        return self._pairs.copy()

    @cached_property
    def _pairs(self) -> dict[str, str]:
        return decode_context(self.context_json) if self.context_json is not None else {}

    def encode(self, *, room: int = 0) -> bytes:
        """The header's bytes, with ``room`` spare bytes for a later re-wrap in place.

        Raises ``ValueError`` when it would exceed the format's limits.
        """
        if not 1 <= len(self.recipients) <= MAX_RECIPIENTS:
            raise ValueError(f"an envelope has 1 to {MAX_RECIPIENTS} recipients, not {len(self.recipients)}")
        members: dict[str, object] = {"keys": [_members_of(recipient) for recipient in self.recipients]}
        if self.context_json is not None:
            members["context"] = self.context_json
        text = json.dumps(members, separators=(",", ":")).encode("ascii") + b" " * room
        if len(text) > MAX_JSON:
            raise ValueError(f"the header would be {len(text)} bytes; the format allows {MAX_JSON}")
        return _PREFIX.pack(MAGIC, VERSION, self.suite.id, len(text)) + text


def add_room(encoded: bytes, room: int) -> bytes:
    """An encoded header with ``room`` more spare bytes. Raises ``TypeError`` and ``ValueError``."""
    if not isinstance(room, int) or isinstance(room, bool):
        raise TypeError(f"header_room is a number of bytes, not {type(room).__name__}")
    magic, version, suite_id, size = _PREFIX.unpack_from(encoded)
    if room < 0 or size + room > MAX_JSON:
        raise ValueError(f"header_room is 0 to {MAX_JSON - size} bytes beside these keys, not {room}")
    return _PREFIX.pack(magic, version, suite_id, size + room) + encoded[PREFIX_SIZE:] + b" " * room


def json_size(prefix: bytes) -> tuple[Suite, int]:
    """The suite and the length of the JSON part, from the first 12 bytes. Raises ``FormatError``."""
    if not prefix.startswith(MAGIC):
        raise FormatError("not an envelope: it does not start with KMSENV")
    if len(prefix) < PREFIX_SIZE:
        raise FormatError("damaged header: the data ends inside it")
    _, version, suite_id, size = _PREFIX.unpack_from(prefix)
    if version != VERSION:
        raise FormatError(f"format version {version} is not supported: this release reads version {VERSION}")
    suite = BY_ID.get(suite_id)
    if suite is None:
        raise FormatError(f"suite 0x{suite_id:02x} is not supported by this release")
    if size > MAX_JSON:
        raise FormatError(f"damaged header: a length of {size} bytes is over the limit of {MAX_JSON}")
    return suite, size


def decode_header(data: BytesLike) -> tuple[Header, int]:
    """The header at the start of ``data`` and its size in bytes. Raises ``FormatError``."""
    suite, size = json_size(bytes(data[:PREFIX_SIZE]))
    end = PREFIX_SIZE + size
    if len(data) < end:
        raise FormatError("damaged header: the data ends inside it")
    text = bytes(data[PREFIX_SIZE:end])
    # Many small envelopes share a header. Large ones are not kept: they may come from anyone.
    return (_parse_known if size <= _KNOWN_SIZE else _parse)(suite, text), end


def header_bytes(data: memoryview) -> bytes:
    """What are the header's bytes if ``data`` is an envelope, which is not checked; empty if it cannot be."""
    try:
        (size,) = _SIZE.unpack_from(data, 8)
    except struct.error:
        return b""
    return bytes(data[: PREFIX_SIZE + size]) if size <= MAX_JSON else b""


def read_header(read_exactly: Callable[[int], bytes]) -> tuple[Header, bytes]:
    """The header from a stream, and its bytes.

    ``read_exactly(n)`` returns n bytes, fewer only at the end of the data. Raises ``FormatError``.
    """
    prefix = read_exactly(PREFIX_SIZE)
    suite, size = json_size(prefix)
    text = read_exactly(size)
    if len(text) < size:
        raise FormatError("damaged header: the data ends inside it")
    return _parse(suite, text), prefix + text


def _parse(suite: Suite, text: bytes) -> Header:
    try:
        members = strict_json(text.decode("utf-8"))
        if not isinstance(members, dict):
            raise ValueError("its JSON is not an object")
        recipients = _recipients(members.get("keys"))
        context = members.get("context")
        if context is not None or "context" in members:
            decode_context(_text(context, "context"))
    except ValueError as error:
        raise FormatError(f"damaged header: {_reason(error)}") from None
    return Header(suite, recipients, context)


_parse_known = lru_cache(maxsize=1024)(_parse)


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return "it is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)


def _recipients(keys: object) -> tuple[Recipient, ...]:
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_RECIPIENTS:
        raise ValueError(f"keys is not a list of 1 to {MAX_RECIPIENTS} recipients")
    return tuple(_recipient(members) for members in keys)


def _recipient(members: object) -> Recipient:
    if not isinstance(members, dict):
        raise ValueError("a recipient is not an object")
    needed = {name: _printable(members.get(name), name) for name in ("kms", "key_id", "wrapped")}
    optional = {name: _printable(members[name], name) for name in ("region", "alg") if name in members}
    return Recipient(**needed, **optional)


def _members_of(recipient: Recipient) -> dict[str, str]:
    names = ("kms", "key_id", "region", "alg", "wrapped")
    return {name: value for name in names if (value := getattr(recipient, name)) is not None}


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a string")
    return value


def _printable(value: object, name: str) -> str:
    text = _text(value, name)
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError(f"{name} is not printable ASCII")
    return text
