"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from . import asymmetric, doctor, emulator, envelope, inspection, keys, rewrap, secrets
from .run import CommandLine

app = typer.Typer(
    name="kmsenvelope",
    cls=CommandLine,
    help="Client-side envelope encryption with Tencent Cloud KMS, or a local key store.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"kmsenvelope {version('kmsenvelope')}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Client-side envelope encryption with Tencent Cloud KMS, or a local key store."""


app.command()(envelope.encrypt)
app.command()(envelope.decrypt)
app.command()(envelope.cat)
app.command()(envelope.verify)
app.command()(inspection.inspect)
app.command()(rewrap.rewrap)
app.add_typer(keys.app, name="keys")
app.add_typer(secrets.app, name="secret")
app.add_typer(asymmetric.app, name="asymmetric")
app.command()(asymmetric.public_key)
app.command()(emulator.emulator)
app.command()(doctor.doctor)
