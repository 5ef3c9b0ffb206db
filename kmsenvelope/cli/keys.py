"""``keys``: create, list, show, enable and disable the CMKs of a KMS."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import material
from .options import JsonOption, KmsOption, NameArgument, StoreOption
from .places import address_text, named_key, open_key, open_place, place_of, will_be_made
from .render import Row, panel, table
from .text import counted, printable

if TYPE_CHECKING:
    from kmsenvelope.kms.service import Kms

app = typer.Typer(help="Create, list and switch keys (CMKs).", no_args_is_help=True)

_COLUMNS = ("Alias", "State", "Kind", "Key id", "Created")
_PAGE = 200  # the most that ListKeyDetail gives at once


@app.command()
def create(
    alias: Annotated[
        str, typer.Argument(metavar="ALIAS", help="1 to 60 letters, digits, '-' and '_'; must be new.")
    ],
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is for.")] = "",
    usage: Annotated[
        str,
        typer.Option(
            "--usage",
            metavar="USAGE",
            help="ENCRYPT_DECRYPT, ASYMMETRIC_DECRYPT_RSA_2048, ASYMMETRIC_DECRYPT_SM2 "
            "or another KeyUsage of the KMS API.",
        ),
    ] = "ENCRYPT_DECRYPT",
    external: Annotated[
        bool, typer.Option("--external", help="Empty until 'keys import-material' gives it your material.")
    ] = False,
    store: StoreOption = None,
    kms: KmsOption = None,
) -> None:
    """Create a key and print its address."""
    place = place_of(store, kms)
    made = will_be_made(place)
    with open_place(place, create=True) as opened:
        key_id = opened.create_key(alias, description=description, usage=usage, external=external)
        typer.echo(printable(address_text(place, key_id)))
    if made:
        typer.echo(
            f"New key store {printable(place.place)}: for development and offline use, it is no HSM. "
            "Back it up: what it encrypts is lost with it.",
            err=True,
        )


@app.command("list")
def list_keys(store: StoreOption = None, kms: KmsOption = None, as_json: JsonOption = False) -> None:
    """List the keys. On a terminal as a table, else one key a line with tabs between."""
    with open_place(place_of(store, kms)) as opened:
        found = list(details(opened))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows = [_row(metadata) for metadata in found]
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(map(printable, row)))
    elif rows:
        short = [(alias, state, _kind(usage), key, day[:10]) for alias, state, usage, key, day in rows]
        table(_COLUMNS, short, state=1, unbroken=("Key id", "Created"))
    else:
        typer.echo("No keys yet: 'kmsenvelope keys create NAME' makes one.", err=True)


@app.command()
def show(
    name: NameArgument, store: StoreOption = None, kms: KmsOption = None, as_json: JsonOption = False
) -> None:
    """Show what the KMS says of a key."""
    address = named_key(name, store, kms)
    with open_key(address) as key:
        metadata = key.call("DescribeKey")["KeyMetadata"]
    if as_json:
        typer.echo(json.dumps(metadata, indent=2))
    else:
        where = address_text(address, str(metadata.get("KeyId", "")))
        panel(str(metadata.get("Alias", name)), _facts(metadata, where))


@app.command()
def enable(name: NameArgument, store: StoreOption = None, kms: KmsOption = None) -> None:
    """Let a key encrypt and decrypt again."""
    with open_key(named_key(name, store, kms)) as key:
        key.call("EnableKey")


@app.command()
def disable(name: NameArgument, store: StoreOption = None, kms: KmsOption = None) -> None:
    """Stop a key: nothing that it protects opens until it is enabled again."""
    with open_key(named_key(name, store, kms)) as key:
        key.call("DisableKey")


app.command("import-material")(material.import_material)
app.command("delete-material")(material.delete_material)


def details(kms: Kms, *, page_size: int = _PAGE) -> Iterator[dict[str, Any]]:
    """The metadata of every CMK of the account and region, oldest first. Source: ListKeyDetail."""
    offset = 0
    while True:
        query: dict[str, object] = {"KeyUsage": "ALL", "OrderType": 1, "Limit": page_size, "Offset": offset}
        answer = kms.call("ListKeyDetail", query)
        page = answer.get("KeyMetadatas") or []
        yield from page
        offset += len(page)
        if not page or offset >= answer["TotalCount"]:
            return


def _row(metadata: dict[str, Any]) -> tuple[str, ...]:
    names = ("Alias", "KeyState", "KeyUsage", "KeyId")
    return (*(str(metadata.get(name, "")) for name in names), _moment(metadata.get("CreateTime")))


def _kind(usage: str) -> str:
    """What a ``KeyUsage`` of the API means, in a word or two."""
    if usage == "ENCRYPT_DECRYPT":
        return "symmetric"
    for prefix, suffix in (("ASYMMETRIC_DECRYPT_", ""), ("ASYMMETRIC_SIGN_VERIFY_", " signing")):
        if usage.startswith(prefix):
            return usage.removeprefix(prefix).replace("_", "-") + suffix
    return usage


def _facts(metadata: dict[str, Any], address: str) -> list[Row]:
    own = metadata.get("Origin") == "EXTERNAL"
    rows = [
        ("address", address),
        ("state", str(metadata.get("KeyState", ""))),
        ("usage", str(metadata.get("KeyUsage", ""))),
        ("material", "your own (external)" if own else "made by the KMS"),
        ("created", _moment(metadata.get("CreateTime"))),
    ]
    optional = [
        ("description", str(metadata.get("Description") or "")),
        ("valid until", _moment(metadata.get("ValidTo"))),
        ("deleted on", _moment(metadata.get("DeletionDate"))),
        ("rotation", _rotation(metadata)),
    ]
    return rows + [row for row in optional if row[1]]


def _rotation(metadata: dict[str, Any]) -> str:
    if not metadata.get("KeyRotationEnabled"):
        return ""
    days = counted(int(metadata.get("RotateDays") or 365), "day")
    return f"every {days}, next on {_moment(metadata.get('NextRotateTime'))}"


def _moment(seconds: object) -> str:
    if not isinstance(seconds, int) or seconds <= 0:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
