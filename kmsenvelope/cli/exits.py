"""What a failed command says - one line on stderr - and the code that it exits with.

0    done                            4    not authentic, truncated, or another context
1    the system refused, or a bug    5    no key that opens or encrypts it
2    wrong usage                     6    the KMS refused or failed
3    not an envelope                 130, 143, 141   SIGINT, SIGTERM, broken pipe
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typer import Abort, Exit

from kmsenvelope.errors import (
    AuthenticationError,
    ContextMismatch,
    FormatError,
    KeyUnavailable,
    KmsAccessDenied,
    KmsError,
    KmsThrottled,
    KmsUnavailable,
    NoUsableKey,
    TruncatedError,
)

from .text import printable

FAILED = 1
USAGE = 2
FORMAT = 3
AUTHENTICITY = 4
KEY = 5
KMS = 6
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

_NOT_ASKED = (KmsAccessDenied, KmsThrottled, KmsUnavailable)
_ENVELOPE_FAULTS = (FormatError, AuthenticationError, ContextMismatch, NoUsableKey)


class UsageError(ValueError):
    """The command was given something that it cannot work with; the message says what to give instead."""


_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (FormatError, FORMAT),
    (AuthenticationError, AUTHENTICITY),
    (ContextMismatch, AUTHENTICITY),
    (NoUsableKey, KEY),
    (KeyUnavailable, KEY),
    (KmsError, KMS),
    (BrokenPipeError, BROKEN_PIPE),
    (OSError, FAILED),
    (ValueError, USAGE),
    (ImportError, FAILED),
)


def code_of(error: BaseException) -> int:
    """The exit code for ``error``. That a KMS could not be asked is its failure, not the key's."""
    if isinstance(error, NoUsableKey) and any(isinstance(each, _NOT_ASKED) for each in error.errors):
        return KMS
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


@contextmanager
def about(subject: str | None = None) -> Iterator[None]:
    """Whatever fails inside ends the command, with ``subject`` (a path) in its line where that helps."""
    try:
        yield
    except (Exit, Abort):
        raise
    except Exception as error:
        raise Exit(complain(error, subject if isinstance(error, _ENVELOPE_FAULTS) else None)) from error


def complain(error: BaseException, subject: str | None = None) -> int:
    """Print what went wrong, with ``subject``, such as a path, before it, and return the exit code.

    A broken pipe is not worth a line. With ``KMSENVELOPE_DEBUG=1`` the traceback comes first.
    """
    code = code_of(error)
    if code == BROKEN_PIPE:
        silence_stdout()
        return code
    if debugging():
        import traceback

        traceback.print_exception(error)
    if isinstance(error, OSError) and error.filename is not None:
        subject = None
    say(f"{subject}: {describe(error)}" if subject else describe(error))
    return code


def describe(error: BaseException) -> str:
    """One line about ``error`` and what to do about it."""
    if isinstance(error, OSError):
        return _describe_os_error(error)
    if code_of(error) == FAILED and not isinstance(error, ImportError):
        kind = type(error).__name__
        return f"internal error ({kind}): please report it; KMSENVELOPE_DEBUG=1 shows where it is"
    if isinstance(error, ContextMismatch):
        return "--context is not the encryption context of this envelope, which 'kmsenvelope inspect' shows"
    return f"{error}{_advice(error)}"


def say(line: str) -> None:
    """One line on stderr, safe for the terminal whatever it quotes."""
    print(f"kmsenvelope: {printable(line)}", file=sys.stderr)  # noqa: T201


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get("KMSENVELOPE_DEBUG", "") not in {"", "0"}


def silence_stdout() -> None:
    """Nobody reads stdout any more: the interpreter must not complain of it when it flushes at the end."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _describe_os_error(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    if isinstance(error, FileExistsError):
        what = "exists already: --force replaces it"
    if error.filename is None:
        return what
    path = error.filename if isinstance(error.filename, str) else os.fsdecode(error.filename)
    return f"{Path(path)}: {what}"


def _advice(error: BaseException) -> str:
    if isinstance(error, TruncatedError):
        return "; get the whole file"
    if isinstance(error, AuthenticationError):
        return "; if --aad is right, get an undamaged copy"
    if isinstance(error, KmsError) and error.code == "WrongPassphrase":
        return "; it is taken from KMSENVELOPE_PASSPHRASE"
    if isinstance(error, NoUsableKey) and all(why == "no key of this client" for _, why in error.reasons):
        return "; give one of its keys with --key"
    return ""
