"""Keys that come as PEM files: public keys to encrypt for, private keys to open with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kmsenvelope.addresses import KeyAddress

from .exits import UsageError
from .pipes import read_small

if TYPE_CHECKING:
    from kmsenvelope.kms.private import PrivateKey
    from kmsenvelope.kms.public import PublicKey

PublicKeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--public-key",
        "-p",
        metavar="[ADDRESS=]PEM",
        help="A public key to encrypt for, without calling its KMS: tencent:REGION/KEY_ID=FILE for a key of "
        "the KMS, FILE for one of your own; repeatable.",
        show_default=False,
    ),
]
PrivateKeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--private-key",
        metavar="PEM",
        help="A private key of your own to open with; repeatable.",
        show_default=False,
    ),
]

_MAX_PEM = 1 << 16


def public_keys(specs: list[str] | None) -> list[PublicKey]:
    """The keys of ``--public-key``."""
    return [_public_key(spec) for spec in specs or ()]


def private_keys(paths: list[str] | None) -> list[PrivateKey]:
    """The keys of ``--private-key``. The password of an encrypted one is asked for on the terminal."""
    return [_private_key(path) for path in paths or ()]


def is_address(spec: str) -> bool:
    """Whether a key is given by an address, not by a file."""
    return spec.startswith(("tencent:", "local:"))


def _public_key(spec: str) -> PublicKey:
    from kmsenvelope.kms.alias import is_key_id
    from kmsenvelope.kms.public import PublicKey

    if not is_address(spec):
        return PublicKey.from_pem(read_small(spec, _MAX_PEM, "a public key"))
    where, equals, path = spec.partition("=")
    if not equals:
        raise UsageError(f"--public-key takes ADDRESS=FILE or FILE, not {spec!r}")
    address = KeyAddress.parse(where)
    if not is_key_id(address.key):
        raise UsageError(f"--public-key {where}: give the key id, as an alias cannot be looked up offline")
    region = address.place if address.kms == "tencent" else None
    pem = read_small(path, _MAX_PEM, "a public key")
    return PublicKey.from_pem(pem, key_id=address.key, kms=address.kms, region=region)


def _private_key(path: str) -> PrivateKey:
    from kmsenvelope.kms.private import PrivateKey

    pem = read_small(path, _MAX_PEM, "a private key")
    password = None
    if b"ENCRYPTED" in pem and sys.stdin is not None and sys.stdin.isatty():
        from getpass import getpass

        password = getpass(f"Password of {path}: ")
    return PrivateKey.from_pem(pem, password)
