"""``keys import-material`` and ``keys delete-material``: your own key material (BYOK)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from .exits import UsageError
from .options import KmsOption, NameArgument, QuietOption, StoreOption
from .pipes import read_small
from .places import named_key, open_key

_MAX_MATERIAL = 1024


def import_material(
    name: NameArgument,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The material, raw; - for standard input.")],
    valid_to: Annotated[
        str | None,
        typer.Option(
            "--valid-to",
            metavar="TIME",
            help="When it expires, such as 2030-01-31T00:00:00Z; without it never.",
        ),
    ] = None,
    algorithm: Annotated[
        str,
        typer.Option(
            "--algorithm",
            metavar="NAME",
            help="How it travels: RSAES_OAEP_SHA_256, RSAES_OAEP_SHA_1 or RSAES_PKCS1_V1_5.",
        ),
    ] = "RSAES_OAEP_SHA_256",
    store: StoreOption = None,
    kms: KmsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Give your own material to a key made with --external: 32 bytes, or 16 in SM regions.

    Keep a copy of it. The KMS never gives it back, and the key takes no other, ever.
    """
    expiry = _moment(valid_to)
    address = named_key(name, store, kms)
    material = bytearray(read_small(path, _MAX_MATERIAL, "key material"))
    with open_key(address) as key:
        key.kms.import_key_material(key.key_id, material, valid_to=expiry, algorithm=algorithm)
    if not quiet:
        typer.echo("Imported. Keep a copy of the material: only that opens the data again.", err=True)


def delete_material(
    name: NameArgument, store: StoreOption = None, kms: KmsOption = None, quiet: QuietOption = False
) -> None:
    """Remove imported material: at once nothing opens, until the same material is imported again."""
    with open_key(named_key(name, store, kms)) as key:
        key.kms.delete_key_material(key.key_id)
    if not quiet:
        typer.echo("Deleted. The same material, imported again, opens the data again.", err=True)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(f"--valid-to takes a time with its zone, such as 2030-01-31T00:00:00Z, not {text!r}")
    return moment
