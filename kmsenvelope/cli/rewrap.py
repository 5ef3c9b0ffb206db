"""``rewrap``: other keys for envelopes, without touching their data."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from kmsenvelope.addresses import KeyAddress

from .exits import UsageError, complain
from .options import AadFileOption, AadOption, KeyOption, QuietOption, aad_of, key_addresses
from .places import open_keys
from .recipients import PrivateKeyOption, is_address, private_keys, public_keys
from .text import counted, printable

if TYPE_CHECKING:
    from kmsenvelope.kms.masterkey import MasterKey
    from kmsenvelope.kms.public import PublicKey
    from kmsenvelope.rewrapfile import RewrapResult

_DONE = ("in place", "new file")


def rewrap(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Envelopes, or folders of them.")],
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="KEY",
            help="A key that the envelopes are to have, and no other: an address, or a public key as for "
            "'encrypt --public-key'; repeatable.",
            show_default=False,
        ),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option("--add", metavar="KEY", help="A key to add to those they have.", show_default=False),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove", metavar="KEY", help="A key to take away: an address or key id.", show_default=False
        ),
    ] = None,
    key: KeyOption = None,
    private_key: PrivateKeyOption = None,
    aad: AadOption = None,
    aad_file: AadFileOption = None,
    any_aad: Annotated[
        bool, typer.Option("--any-aad", help="The aad is not known: the data keys are compared instead.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only list the envelopes that would change; nothing is called.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Wrap again for keys that stay: they may have been rotated.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify", help="Prove that the new keys open it before the old header goes."
        ),
    ] = True,
    in_place: Annotated[
        bool | None,
        typer.Option("--in-place/--new-file", help="How files change; without it whichever is better."),
    ] = None,
    header_room: Annotated[
        int,
        typer.Option("--header-room", metavar="BYTES", help="Spare room in the header of a new file.", min=0),
    ] = 0,
    quiet: QuietOption = False,
) -> None:
    """Give envelopes other keys; --key opens them. The data is neither decrypted nor changed.

    Goes on after a failure, and may simply be run again; the first failure sets the exit code.
    """
    bound = None if any_aad else aad_of(aad, aad_file)
    _check_options(to, add, remove)
    others = private_keys(private_key)
    openers = [] if check and not key else key_addresses(key, others)
    with ExitStack() as stack:
        keys, change = _open_all(openers, to, add, remove, stack)
        from kmsenvelope.client import EnvelopeClient

        client = stack.enter_context(EnvelopeClient(*keys, *others))
        results = client.rewrap_files(
            paths,
            **change,
            aad=bound,
            verify=verify,
            refresh=refresh,
            in_place=in_place,
            header_room=header_room,
            check=check,
        )
        code = _report(results, check=check, quiet=quiet)
    raise typer.Exit(code)


def _check_options(to: list[str] | None, add: list[str] | None, remove: list[str] | None) -> None:
    if to is None and add is None and remove is None:
        raise UsageError("say which keys the envelopes are to have: --to KEY, or --add and --remove")
    if to is not None and (add is not None or remove is not None):
        raise UsageError("give either --to, or --add and --remove")


class _Change(TypedDict, total=False):
    keys: list[MasterKey | PublicKey]
    add: list[MasterKey | PublicKey]
    remove: list[MasterKey | str]


def _open_all(
    openers: list[str],
    to: list[str] | None,
    add: list[str] | None,
    remove: list[str] | None,
    stack: ExitStack,
) -> tuple[list[MasterKey], _Change]:
    """The keys of the client, and the change as ``rewrap_files`` takes it."""
    wanted = to or add or []
    named = [spec for spec in wanted if is_address(spec) and "=" not in spec]
    by_alias = [spec for spec in remove or () if _shown(spec) is None]
    opened, targets, gone = stack.enter_context(open_keys(openers, named, by_alias))
    cmks = dict(zip(named, targets, strict=True))
    new = [cmks[spec] if spec in cmks else public_keys([spec])[0] for spec in wanted]
    if to is not None:
        return opened or targets, {"keys": new}
    shown = [_shown(spec) for spec in remove or ()]
    less: list[MasterKey | str] = [*gone, *(name for name in shown if name is not None)]
    return opened or targets or gone, {"add": new, "remove": less}


def _report(results: Iterable[RewrapResult], *, check: bool, quiet: bool) -> int:
    """Print a line for each file as it is done, then a summary; returns the exit code."""
    code = 0
    counts: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for result in results:
        counts[result.outcome] += 1
        calls.update(result.calls)
        if result.error is not None:
            failed = complain(result.error, result.path)
            code = code or failed
        elif check:
            if result.outcome == "due":
                typer.echo(printable(result.path))
        elif result.outcome in _DONE and not quiet:
            typer.echo(f"{printable(result.path)}: {result.outcome}")
    if not quiet and not check and sys.stderr.isatty():
        typer.echo(_summary(counts, calls), err=True)
    return code


def _summary(counts: Counter[str], calls: Counter[str]) -> str:
    done = sum(counts[outcome] for outcome in _DONE)
    words = [f"{counted(done, 'envelope')} re-wrapped", f"{counts['unchanged']} unchanged"]
    if counts["failed"]:
        words.append(f"{counts['failed']} failed")
    made = ", ".join(f"{count} {action}" for action, count in sorted(calls.items()))
    return f"{', '.join(words)}. KMS calls: {made or 'none'}."


def _shown(spec: str) -> str | None:
    """What ``inspect`` shows of a key to be removed, where that is known without asking its KMS."""
    from kmsenvelope.kms.alias import is_key_id

    if not is_address(spec):
        return spec
    address = KeyAddress.parse(spec)
    if not is_key_id(address.key):
        return None
    return f"local:{address.key}" if address.kms == "local" else spec
