"""Options that several commands share: how they are declared, and what their text means."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Annotated

import typer

from .exits import UsageError

KeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        "-k",
        metavar="ADDRESS",
        help="Key address: local:NAME, local:/path/keys.db#NAME or tencent:REGION/KEY_ID; "
        "give it again for more keys.  \\[env: KMSENVELOPE_KEY]",
        show_default=False,
    ),
]
OneKeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        "-k",
        metavar="ADDRESS",
        help="Key address: local:NAME, local:/path/keys.db#NAME or tencent:REGION/KEY_ID.  "
        "\\[env: KMSENVELOPE_KEY]",
        show_default=False,
    ),
]
NameArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="An alias or key id of that place, or a key address.")
]
ContextOption = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        "-c",
        metavar="NAME=VALUE",
        help="A pair of the encryption context: bound to the data, and readable by everybody; repeatable.",
        show_default=False,
    ),
]
ExpectedContextOption = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        "-c",
        metavar="NAME=VALUE",
        help="A pair of the encryption context; if any is given, all must equal those in the header.",
        show_default=False,
    ),
]
AadOption = Annotated[
    str | None,
    typer.Option("--aad", metavar="TEXT", help="Associated data: needed again to decrypt, stored nowhere."),
]
AadFileOption = Annotated[
    str | None,
    typer.Option("--aad-file", metavar="PATH", help="Associated data, read from a file."),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bar, and no word on what succeeds.")
]
ForceOption = Annotated[
    bool,
    typer.Option("--force", "-f", help="Replace a file that exists; write an envelope to a terminal."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="PATH", help="A local key store, in place of your own."),
]
KmsOption = Annotated[
    str | None,
    typer.Option("--kms", metavar="KMS", help="Where the keys are: tencent:REGION, or local."),
]

MAX_AAD_FILE = 1 << 20

_NEXT_ADDRESS = re.compile(r"\s+(?=(?:local|tencent):)")


def key_addresses(given: list[str] | None, others: Sequence[object] = ()) -> list[str]:
    """The addresses of ``--key``; without those and ``others`` the ones in ``KMSENVELOPE_KEY``, with spaces
    between them."""
    if given or others:
        return given or []
    if default := os.environ.get("KMSENVELOPE_KEY", "").strip():
        return _NEXT_ADDRESS.split(default)
    raise UsageError(
        "no key given: use --key ADDRESS or set KMSENVELOPE_KEY "
        "('kmsenvelope keys create NAME' makes a key, local:NAME is its address)"
    )


def one_key_address(given: str | None) -> str:
    """The one address of ``--key``, else of ``KMSENVELOPE_KEY``."""
    addresses = key_addresses([given] if given else None)
    if len(addresses) != 1:
        raise UsageError("one key is needed here, and KMSENVELOPE_KEY names several: use --key ADDRESS")
    return addresses[0]


def context_of(pairs: list[str] | None) -> dict[str, str] | None:
    """The encryption context in ``NAME=VALUE`` pairs; ``None`` if none was given."""
    if not pairs:
        return None
    context: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--context takes NAME=VALUE, not {pair!r}")
        if name in context:
            raise UsageError(f"--context gives {name!r} twice")
        context[name] = value
    return context


def aad_of(text: str | None, path: str | None) -> bytes:
    """The associated data of ``--aad`` or ``--aad-file``, at most 1 MiB; empty if neither was given."""
    if path is None:
        return os.fsencode(text or "")
    if text is not None:
        raise UsageError("give either --aad or --aad-file")
    with open(path, "rb") as file:
        data = file.read(MAX_AAD_FILE + 1)
    if len(data) > MAX_AAD_FILE:
        raise UsageError(f"--aad-file: {path} is larger than 1 MiB; use its digest instead")
    return data
