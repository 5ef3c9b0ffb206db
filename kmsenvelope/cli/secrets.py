"""``secret``: up to 4 096 bytes, encrypted by the KMS itself."""

from __future__ import annotations

from typing import Annotated

import typer

from kmsenvelope.addresses import KeyAddress
from kmsenvelope.header import MAGIC

from .exits import UsageError
from .options import ContextOption, ForceOption, OneKeyOption, context_of, one_key_address
from .pipes import STANDARD, read_small, standard_input, write_small
from .places import open_key

app = typer.Typer(help="Encrypt small secrets by the KMS itself.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="[SRC]", help="A file; - for standard input.")]
Destination = Annotated[str, typer.Argument(metavar="[DST]", help="The new file; - for standard output.")]

_MAX_BLOB = 1 << 16


@app.command()
def encrypt(
    source: Source = STANDARD,
    destination: Destination = STANDARD,
    key: OneKeyOption = None,
    context: ContextOption = None,
    force: ForceOption = False,
) -> None:
    """Encrypt a secret of at most 4096 bytes; the result is one line of text.

    It is read from SRC, never from the command line, which other users of a machine can see; on a terminal it
    is asked for. A line break at the end of SRC is part of the secret.
    """
    address = KeyAddress.parse(one_key_address(key))
    pairs = context_of(context)
    secret = _read(source)
    if not secret:
        raise UsageError("the secret is empty")
    with open_key(address) as opened:
        blob = opened.encrypt(secret, pairs)
    write_small(destination, blob.encode() + b"\n", force=force)


@app.command()
def decrypt(
    source: Source = STANDARD,
    destination: Destination = STANDARD,
    key: OneKeyOption = None,
    context: ContextOption = None,
    force: ForceOption = False,
) -> None:
    """Decrypt what 'secret encrypt' made, given the same context. --key says which KMS to ask."""
    address = KeyAddress.parse(one_key_address(key))
    pairs = context_of(context)
    text = _read_blob(source)
    if text.startswith(MAGIC):
        raise UsageError("SRC is an envelope: use 'kmsenvelope decrypt'")
    try:
        blob = text.decode("ascii")
    except UnicodeDecodeError:
        blob = ""
    if not blob:
        raise UsageError("SRC is not the text that 'kmsenvelope secret encrypt' makes")
    with open_key(address) as opened:
        secret = opened.kms.decrypt(blob, pairs)
    write_small(destination, secret, force=force)


def _read_blob(source: str) -> bytes:
    try:
        return read_small(source, _MAX_BLOB, "an encrypted secret").strip()
    except UsageError as error:
        raise UsageError(f"{error}: an envelope is opened by 'kmsenvelope decrypt'") from None


def _read(source: str) -> bytes:
    from kmsenvelope.kms.masterkey import MAX_SECRET

    if source == STANDARD and standard_input().isatty():
        from getpass import getpass

        return getpass("Secret: ").encode()
    try:
        return read_small(source, MAX_SECRET, "a secret")
    except UsageError as error:
        raise UsageError(f"{error}: use 'kmsenvelope encrypt' for more") from None
