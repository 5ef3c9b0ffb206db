"""``inspect``: what an envelope says of itself."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from kmsenvelope.suites import Suite

from .exits import about
from .options import JsonOption
from .pipes import STANDARD, size_of, standard_input
from .render import Row, panel
from .text import counted, size

if TYPE_CHECKING:
    from kmsenvelope.header import Recipient


def inspect(
    path: Annotated[str, typer.Argument(metavar="PATH", help="An envelope; - for standard input.")],
    as_json: JsonOption = False,
) -> None:
    """Show the header of an envelope: suite, keys and encryption context. No KMS is called."""
    with about("standard input" if path == STANDARD else path):
        if path == STANDARD:
            found = _Found(standard_input(), None)
        else:
            with open(path, "rb") as file:
                found = _Found(file, path)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        panel(found.title(path), found.rows(), footer="not authenticated: kmsenvelope verify does that")


class _Found:
    """A header and the sizes around it; sizes are ``None`` where the source has no end yet."""

    def __init__(self, file: BinaryIO, path: str | None) -> None:
        from kmsenvelope.header import VERSION, read_header
        from kmsenvelope.journal import header_at
        from kmsenvelope.streams import read_exactly

        stored = size_of(file)
        if path is not None and file.seekable():  # a crash may have torn the header, and left what mends it
            self.header = header_at(path, file.fileno())
            self.header_size = _header_end(file)
        else:
            self.header, encoded = read_header(lambda wanted: read_exactly(file, wanted))
            self.header_size = len(encoded)
        self.version = VERSION
        self.body_size = None if stored is None else stored - self.header_size
        self.plain_size = None if self.body_size is None else _plain_size(self.body_size)

    def title(self, path: str) -> str:
        return "standard input" if path == STANDARD else path

    def rows(self) -> list[Row]:
        header = self.header
        rows = [("format", f"kmsenvelope version {self.version}"), ("suite", _suite(header.suite))]
        rows += [("plaintext", self._plain_text()), ("header", size(self.header_size)), ("", "")]
        for number, recipient in enumerate(header.recipients):
            name = "keys" if len(header.recipients) > 1 else "key"
            rows.append((name if number == 0 else "", str(recipient)))
            rows.append(("", f"  {_wrapping(recipient)}"))
        if header.context:
            width = min(20, max(map(len, header.context)))
            rows.append(("", ""))
            for number, (name, value) in enumerate(header.context.items()):
                rows.append(("context" if number == 0 else "", f"{name:<{width}} = {value}"))
        return rows

    def as_json(self) -> dict[str, Any]:
        header = self.header
        return {
            "version": self.version,
            "suite": str(header.suite),
            "keys": [_members(recipient) for recipient in header.recipients],
            "context": header.context,
            "header_bytes": self.header_size,
            "body_bytes": self.body_size,
            "plaintext_bytes": self.plain_size,
        }

    def _plain_text(self) -> str:
        if self.body_size is None:
            return "unknown until it ends"
        if self.plain_size is None:
            return "incomplete: the file is truncated"
        exact = counted(self.plain_size, "byte")
        return exact if self.plain_size < 1024 else f"{size(self.plain_size)} ({exact})"


def _header_end(file: BinaryIO) -> int:
    """Where the body starts. A header re-wrapped in place, torn or not, keeps its size."""
    from kmsenvelope.header import PREFIX_SIZE, json_size

    return PREFIX_SIZE + json_size(os.pread(file.fileno(), PREFIX_SIZE, 0))[1]


def _plain_size(body_size: int) -> int | None:
    from kmsenvelope.chunked import plain_size
    from kmsenvelope.errors import TruncatedError

    try:
        return plain_size(body_size)
    except TruncatedError:
        return None


def _suite(suite: Suite) -> str:
    """The suite; for SM4 also the library that does it on this machine."""
    if suite != Suite.SM4_GCM:
        return str(suite)
    from kmsenvelope.ciphers.select import sm4_status

    used = next(provider for provider in sm4_status() if provider.chosen)
    return f"{suite} (here by {used.name} {used.version})"


def _wrapping(recipient: Recipient) -> str:
    how = f"public key, {recipient.alg}" if recipient.alg else "symmetric CMK"
    return f"{how}, wrapped DEK of {counted(len(recipient.wrapped), 'character')}"


def _members(recipient: Recipient) -> dict[str, str | None]:
    return {
        "address": str(recipient),
        "kms": recipient.kms,
        "region": recipient.region,
        "key_id": recipient.key_id,
        "alg": recipient.alg,
        "wrapped": recipient.wrapped,
    }
