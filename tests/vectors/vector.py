"""One test vector as the JSON files hold it. See README.md for the members."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from construction import Message

PATTERN = b"kmsenvelope test "
"""17 bytes: no two chunks of a message made of it are equal."""

Part = str | Sequence[int] | dict[str, object]
Json = dict[str, object]


def pattern(size: int) -> bytes:
    """``size`` bytes of the repeated pattern."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def repeated(data: bytes, length: int) -> dict[str, object]:
    """The recipe for ``data``, repeated and cut to ``length`` bytes."""
    return {"repeat": data.hex(), "length": length}


def plaintext_recipe(plaintext: bytes) -> Json:
    """The shortest of the three ways to state a plaintext."""
    if plaintext == pattern(len(plaintext)) and len(plaintext) > 2 * len(PATTERN):
        return repeated(PATTERN, len(plaintext))
    if len(plaintext) <= 256:
        return {"hex": plaintext.hex()}
    return {"sha256": hashlib.sha256(plaintext).hexdigest(), "length": len(plaintext)}


def build(parts: Sequence[Part], base: bytes = b"") -> bytes:
    """The bytes that ``parts`` describe."""
    out = bytearray()
    for part in parts:
        if isinstance(part, str):
            out += bytes.fromhex(part)
        elif isinstance(part, dict):
            unit, length = bytes.fromhex(str(part["repeat"])), int(str(part["length"]))
            out += (unit * (length // len(unit) + 1))[:length]
        else:
            out += base[part[0] : part[1]]
    return bytes(out)


def _envelope(data: bytes, parts: Sequence[Part] | None, source: Message | None) -> Json:
    if parts is None:
        stated: Json = {"base64": base64.b64encode(data).decode()}
    else:
        stated = {"from": source.label, "parts": list(parts)} if source else {"parts": list(parts)}
        assert build(parts, source.envelope if source else b"") == data
    return {"envelope": stated, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def positive(
    name: str,
    comment: str,
    made: Message,
    *,
    parts: Sequence[Part] | None = None,
    expected_context: dict[str, str] | None = None,
    encoder: bool = True,
) -> Json:
    """A vector that decodes; with ``encoder``, one that an encoder reproduces byte for byte."""
    vector: Json = {"name": name, "comment": comment, "expect": "success", "suite": made.suite.name}
    vector |= _secrets(made.dek, made.aad, expected_context)
    vector["plaintext"] = plaintext_recipe(made.plaintext)
    if encoder:
        vector["salt"] = made.salt.hex()
    return vector | _envelope(made.envelope, parts, None)


def negative(
    name: str,
    comment: str,
    refusal: str,
    made: Message,
    data: bytes | None = None,
    *,
    parts: Sequence[Part] | None = None,
    spliced: bool = False,
    released: int = 0,
    dek: bytes | None = None,
    aad: bytes | None = None,
    expected_context: dict[str, str] | None = None,
) -> Json:
    """A vector that is refused. ``parts`` of ``made`` (if ``spliced``) or by themselves, else ``data``."""
    if parts is not None:
        data = build(parts, made.envelope if spliced else b"")
    elif data is None:
        data = made.envelope
    vector: Json = {"name": name, "comment": comment, "expect": outcome(refusal), "refusal": refusal}
    vector |= _secrets(made.dek if dek is None else dek, made.aad if aad is None else aad, expected_context)
    if released:
        vector |= {"released": released, "plaintext": plaintext_recipe(made.plaintext)}
    return vector | _envelope(data, parts, made if spliced else None)


def outcome(refusal: str) -> str:
    """The outcome that docs/format.md gives to a refusal."""
    if refusal[0] == "H":
        return "format"
    if refusal[0] == "C":
        return "context"
    return "truncated" if refusal in ("B4", "B5", "B6") else "authentication"


def _secrets(dek: bytes, aad: bytes, expected_context: dict[str, str] | None) -> Json:
    members: Json = {"dek": dek.hex()}
    if aad:
        members["aad"] = aad.hex()
    if expected_context is not None:
        members["expected_context"] = expected_context
    return members
