"""``encrypt``, ``decrypt``, ``cat`` and ``verify``: envelopes in files and pipes."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import about, complain
from .options import (
    AadFileOption,
    AadOption,
    ContextOption,
    ExpectedContextOption,
    ForceOption,
    KeyOption,
    QuietOption,
    aad_of,
    context_of,
    key_addresses,
)
from .pipes import STANDARD
from .places import open_client
from .ranges import Range
from .recipients import PrivateKeyOption, PublicKeyOption, private_keys, public_keys
from .text import printable
from .transfer import Transfer

Source = Annotated[str, typer.Argument(metavar="SRC", help="A file; - for standard input.")]
Destination = Annotated[str, typer.Argument(metavar="DST", help="The new file; - for standard output.")]
SuiteOption = Annotated[
    str | None,
    typer.Option("--suite", metavar="NAME", help="AES-256-GCM (default), AES-128-GCM or SM4-GCM."),
]
DurableOption = Annotated[
    bool, typer.Option("--durable", help="Flush file and folder to the disk before DST appears.")
]
RemoveOption = Annotated[
    bool, typer.Option("--remove-source", help="Remove SRC after success; implies --durable.")
]


def encrypt(
    source: Source,
    destination: Destination,
    key: KeyOption = None,
    public_key: PublicKeyOption = None,
    context: ContextOption = None,
    aad: AadOption = None,
    aad_file: AadFileOption = None,
    suite: SuiteOption = None,
    force: ForceOption = False,
    durable: DurableOption = False,
    remove_source: RemoveOption = False,
    header_room: Annotated[
        int,
        typer.Option("--header-room", metavar="BYTES", min=0, help="Spare room for keys that rewrap adds."),
    ] = 0,
    quiet: QuietOption = False,
) -> None:
    """Encrypt SRC into the envelope DST, for every --key given."""
    bound = (context_of(context), aad_of(aad, aad_file))
    durable = durable or remove_source
    task = Transfer(
        source, destination, *bound, force=force, durable=durable, quiet=quiet, header_room=header_room
    )
    task.refuse_terminal()
    removal = task.removal(remove_source)
    name = None if suite is None else suite.upper()
    others = public_keys(public_key)
    keys = key_addresses(key, others)
    with about(task.subject), open_client(keys, others, suite=name, one_shot=True) as client:
        task.encrypt(client)
        removal()


def decrypt(
    source: Source,
    destination: Destination,
    key: KeyOption = None,
    private_key: PrivateKeyOption = None,
    context: ExpectedContextOption = None,
    aad: AadOption = None,
    aad_file: AadFileOption = None,
    force: ForceOption = False,
    durable: DurableOption = False,
    remove_source: RemoveOption = False,
    quiet: QuietOption = False,
) -> None:
    """Decrypt the envelope SRC into DST; any one of its keys is enough.

    A file DST appears only once all of SRC proved authentic. What goes to standard output is authentic as
    far as it goes: only exit code 0 says that it is complete.
    """
    bound = (context_of(context), aad_of(aad, aad_file))
    task = Transfer(source, destination, *bound, force=force, durable=durable or remove_source, quiet=quiet)
    removal = task.removal(remove_source)
    others = private_keys(private_key)
    with about(task.subject), open_client(key_addresses(key, others), others, one_shot=True) as client:
        task.decrypt(client)
        removal()


def cat(
    path: Annotated[str, typer.Argument(metavar="PATH", help="An envelope; - for standard input.")],
    part: Annotated[
        str | None,
        typer.Option(
            "--range",
            metavar="RANGE",
            help="Bytes of the plaintext. START:END ends before END, either may be missing or count from the "
            "end (-100: is the last 100); START-END includes END.",
        ),
    ] = None,
    key: KeyOption = None,
    private_key: PrivateKeyOption = None,
    context: ExpectedContextOption = None,
    aad: AadOption = None,
    aad_file: AadFileOption = None,
    quiet: QuietOption = False,
) -> None:
    """Print the plaintext of an envelope, or a part of it: only the chunks needed are read."""
    wanted = Range(None, None) if part is None else Range.parse(part)
    task = Transfer(path, STANDARD, context_of(context), aad_of(aad, aad_file), quiet=quiet)
    others = private_keys(private_key)
    with about(task.subject), open_client(key_addresses(key, others), others, one_shot=True) as client:
        task.print(client, wanted)


def verify(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Envelopes; - for standard input.")],
    key: KeyOption = None,
    private_key: PrivateKeyOption = None,
    context: ExpectedContextOption = None,
    aad: AadOption = None,
    aad_file: AadFileOption = None,
    quiet: QuietOption = False,
) -> None:
    """Authenticate whole envelopes and write nothing.

    Goes on after a failure; the first one sets the exit code.
    """
    bound = (context_of(context), aad_of(aad, aad_file))
    result = 0
    others = private_keys(private_key)
    with about(), open_client(key_addresses(key, others), others) as client:
        for path in paths:
            task = Transfer(path, None, *bound, quiet=quiet)
            try:
                task.verify(client)
            except Exception as error:  # noqa: BLE001 - reported; the other files are still worth a look
                code = complain(error, task.subject)
                result = result or code
            else:
                if not quiet:
                    typer.echo(f"{printable(path)}: OK")
    raise typer.Exit(result)
