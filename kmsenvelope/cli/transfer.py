"""One envelope to make or to open, between files and standard input and output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, TypedDict, cast

from .exits import UsageError
from .pipes import (
    STANDARD,
    copy,
    refuse_own_output,
    refuse_terminal,
    size_of,
    standard_input,
    standard_output,
)
from .progress import Meter
from .removal import Removal

if TYPE_CHECKING:
    from kmsenvelope.client import EnvelopeClient
    from kmsenvelope.streams import DecryptingReader

    from .ranges import Range


class _Bound(TypedDict):
    context: dict[str, str] | None
    aad: bytes


class Transfer:
    """What one command does with one envelope.

    ``source`` and ``destination`` are paths or ``-``; no destination: nothing is written. Raises
    ``UsageError`` for combinations that make no sense.
    """

    def __init__(
        self,
        source: str,
        destination: str | None,
        context: dict[str, str] | None,
        aad: bytes,
        *,
        force: bool = False,
        durable: bool = False,
        quiet: bool = False,
        header_room: int = 0,
    ) -> None:
        self._source = source
        self._destination = destination
        self._bound: _Bound = {"context": context, "aad": aad}
        self._force = force
        self._durable = durable
        self._quiet = quiet
        self._header_room = header_room
        if destination == STANDARD:
            if durable:
                raise UsageError("--durable and --remove-source need a file as DST")
            refuse_own_output(source)

    @property
    def subject(self) -> str:
        """What messages call the source."""
        return "standard input" if self._source == STANDARD else self._source

    def refuse_terminal(self) -> None:
        """Raise ``UsageError`` if an envelope would go to a terminal unasked."""
        if self._destination == STANDARD:
            refuse_terminal(self._force)

    def removal(self, wanted: bool) -> Callable[[], None]:
        """What to call after success: removes the source if ``wanted``."""
        if not wanted:
            return lambda: None
        if self._source == STANDARD:
            raise UsageError("--remove-source needs a file as SRC")
        return Removal(self._source).carry_out

    def encrypt(self, client: EnvelopeClient) -> None:
        """Make the envelope."""
        if self._destination is not None and STANDARD not in {self._source, self._destination}:
            with self._meter("encrypt") as meter:
                client.encrypt_file(
                    self._source,
                    self._destination,
                    progress=meter,
                    overwrite=self._force,
                    durable=self._durable,
                    header_room=self._header_room,
                    **self._bound,
                )
            return
        with self._opened_source() as source, self._meter("encrypt", size_of(source)) as meter:
            to_file = self._destination not in {STANDARD, None}
            sink = self._destination if to_file else standard_output()
            mode = "xb" if to_file and not self._force else "wb"
            options = {"durable": self._durable, "header_room": self._header_room, **self._bound}
            with client.open(sink, mode, **options) as envelope:  # type: ignore[call-overload]
                copy(source, envelope, report=meter)
        if not to_file:
            standard_output().flush()

    def decrypt(self, client: EnvelopeClient) -> None:
        """Open the envelope into its destination."""
        if self._destination is None or self._destination == STANDARD:
            self._decrypt_to_output(client)
        elif self._source == STANDARD:
            self._decrypt_input_to_file(client, self._destination)
        else:
            with self._meter("decrypt") as meter:
                client.decrypt_file(
                    self._source,
                    self._destination,
                    progress=meter,
                    overwrite=self._force,
                    durable=self._durable,
                    **self._bound,
                )

    def print(self, client: EnvelopeClient, part: Range) -> None:
        """Write a part of the plaintext to standard output."""
        from kmsenvelope.files import NoSink

        with self._opened_source() as stored, self._reader(client, stored) as reader:
            total = size_of(stored) if reader.seekable() else None
            size = None
            if part.needs_size or (total is not None and (part.start or 0) >= total):
                if not reader.seekable():
                    raise UsageError("--range counts from the end, which a pipe does not tell: use a file")
                size = reader.seek(0, 2)
            first, count = part.resolve(size)
            if reader.seekable():
                reader.seek(first)
            else:
                copy(reader, NoSink(), limit=first)
            with self._meter("read", total if count is None else count) as meter:
                copy(reader, standard_output(), limit=count, report=meter)
        standard_output().flush()

    def verify(self, client: EnvelopeClient) -> None:
        """Authenticate the whole envelope."""
        from kmsenvelope.files import NoSink

        if self._source != STANDARD:
            with self._meter("verify") as meter:
                client.verify_file(self._source, progress=meter, **self._bound)
            return
        with (
            self._opened_source() as stored,
            self._meter("verify", size_of(stored)) as meter,
            self._reader(client, stored) as reader,
        ):
            copy(reader, NoSink(), report=meter)

    def _decrypt_to_output(self, client: EnvelopeClient) -> None:
        with (
            self._opened_source() as stored,
            self._meter("decrypt", size_of(stored)) as meter,
            self._reader(client, stored) as reader,
        ):
            copy(reader, standard_output(), report=meter)
        standard_output().flush()

    def _decrypt_input_to_file(self, client: EnvelopeClient, destination: str) -> None:
        from kmsenvelope.atomic import AtomicFile
        from kmsenvelope.files import FdSink

        with (
            AtomicFile(destination, overwrite=self._force, durable=self._durable) as target,
            self._opened_source() as stored,
            self._meter("decrypt", size_of(stored)) as meter,
            self._reader(client, stored) as reader,
        ):
            copy(reader, FdSink(target.fd), report=meter)
            target.commit()

    def _reader(self, client: EnvelopeClient, stored: BinaryIO) -> DecryptingReader:
        return client.open(stored, "rb", **self._bound)

    @contextmanager
    def _opened_source(self) -> Iterator[BinaryIO]:
        if self._source == STANDARD:
            yield standard_input()
        else:
            with open(self._source, "rb", buffering=0) as file:
                yield cast(BinaryIO, file)

    def _meter(self, label: str, total: int | None = None) -> Meter:
        # A bar would be drawn over plaintext that goes to the same terminal.
        on_screen = self._destination == STANDARD and standard_output().isatty()
        return Meter(f"{label} {self.subject}", quiet=self._quiet or on_screen, total=total)
