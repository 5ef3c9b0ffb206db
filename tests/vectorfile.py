"""Reads the files of tests/vectors, as their README describes them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmsenvelope.header import Recipient, decode_header
from kmsenvelope.keyset import Opener
from kmsenvelope.kms.private import PrivateKey

VECTORS = Path(__file__).parent / "vectors"
SUITE_FILES = ("aes-256-gcm", "aes-128-gcm", "sm4-gcm")
FILES = (*SUITE_FILES, "header", "recipients")


@dataclass(frozen=True)
class Vector:
    """One vector with its envelope's bytes in ``data``."""

    file: str
    members: Mapping[str, Any]
    data: bytes

    def __str__(self) -> str:
        return f"{self.file}/{self.name}"

    @property
    def name(self) -> str:
        return str(self.members["name"])

    @property
    def expect(self) -> str:
        return str(self.members["expect"])

    @property
    def refusal(self) -> str:
        return str(self.members.get("refusal", ""))

    @property
    def dek(self) -> bytes:
        return bytes.fromhex(self.members["dek"])

    @property
    def key(self) -> Opener:
        """A key that opens, or fails to open, the envelope."""
        if "private_key" not in self.members:
            return GivenKey(self.dek)
        text = self.members["private_key"]
        lines = [text[start : start + 64] for start in range(0, len(text), 64)]
        return PrivateKey.from_pem(
            "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""])
        )

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        """The recipients in the header."""
        return decode_header(self.data)[0].recipients

    @property
    def aad(self) -> bytes:
        return bytes.fromhex(self.members.get("aad", ""))

    @property
    def expected_context(self) -> dict[str, str] | None:
        return self.members.get("expected_context")

    @property
    def released(self) -> int:
        """How many bytes may have been released before the error."""
        return int(self.members.get("released", 0))

    def holds(self, plaintext: bytes) -> bool:
        """Whether ``plaintext`` is the vector's."""
        stated = self.members["plaintext"]
        if "sha256" in stated:
            return hashlib.sha256(plaintext).hexdigest() == stated["sha256"]
        return plaintext == _recipe(stated)

    def may_release(self, plaintext: bytes) -> bool:
        """Whether ``plaintext`` may leave a streaming decoder before the error."""
        return len(plaintext) <= self.released and (
            not plaintext or self._prefix(len(plaintext)) == plaintext
        )

    def _prefix(self, size: int) -> bytes:
        return _recipe(self.members["plaintext"])[:size]


def load(file: str) -> list[Vector]:
    """The vectors of ``file``."""
    envelopes: dict[str, bytes] = {}
    vectors = []
    for members in document(file):
        data = _envelope(members["envelope"], envelopes)
        envelopes[members["name"]] = data
        vectors.append(Vector(file, members, data))
    return vectors


def document(file: str) -> list[dict[str, Any]]:
    """The members ``vectors`` of ``file``."""
    vectors: list[dict[str, Any]] = json.loads((VECTORS / f"{file}.json").read_text("utf-8"))["vectors"]
    return vectors


def _envelope(stated: Mapping[str, Any], known: Mapping[str, bytes]) -> bytes:
    if "base64" in stated:
        return base64.b64decode(stated["base64"], validate=True)
    base = known[stated["from"]] if "from" in stated else b""
    out = bytearray()
    for part in stated["parts"]:
        out += base[part[0] : part[1]] if isinstance(part, list) else _recipe(part)
    return bytes(out)


def _recipe(stated: str | Mapping[str, Any]) -> bytes:
    if isinstance(stated, str):
        return bytes.fromhex(stated)
    if "hex" in stated:
        return bytes.fromhex(stated["hex"])
    unit, length = bytes.fromhex(stated["repeat"]), stated["length"]
    return (unit * (length // len(unit) + 1))[:length]


class GivenKey:
    """A key that unwraps every recipient to the DEK that it was given, and counts."""

    def __init__(self, dek: bytes) -> None:
        self._dek = dek
        self.unwrapped = 0

    def opens(self, recipient: Recipient) -> bool:
        return True

    def unwrap(self, recipient: Recipient, context_json: str | None) -> bytearray:
        self.unwrapped += 1
        return bytearray(self._dek)
