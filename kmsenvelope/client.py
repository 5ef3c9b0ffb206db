"""EnvelopeClient: what an application uses to encrypt and decrypt bytes, streams and files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, Self, overload

from cryptography.exceptions import InvalidTag

from .atomic import AtomicFile, PathLike
from .buffers import BytesLike, byte_view
from .chunked import (
    BODY_PREFIX,
    ChunkCipher,
    context_bytes,
    decryptor,
    derive_checked,
    encryptor,
    plain_size,
)
from .context import encode_context
from .datakeys import CacheEvent, CachePolicy, DataKeys
from .errors import AuthenticationError, ContextMismatch, KmsError, TruncatedError
from .files import FdSink, NoSink, Progress, SourceFile, open_file, refuse_same_file, seal_file
from .header import Header, add_room, decode_header, header_bytes, read_header
from .keyset import KeySet, Opener, Wrapper
from .streams import DecryptingReader, EncryptingWriter, Sink, Source, read_exactly, write_all
from .suites import DEFAULT_SUITE, Suite

Context = Mapping[str, str] | None


class EnvelopeClient:
    """Encrypts for one or more keys and decrypts with them.

    ``keys``: ``kms.key(...)``, ``PublicKey``, ``PrivateKey``, in the order of preference; the first whose KMS
    makes data keys makes the DEK, and every one becomes a recipient. A whole ``Kms`` opens with any key of
    its account and region and cannot encrypt. ``suite``: the name of a suite for new envelopes; any suite is
    opened. ``cache``: how long a DEK may be reused, see ``CachePolicy``. ``on_event``: called with each event
    of the data-key cache (docs/caching.md). ``require_all=False``: a recipient whose KMS fails is left out of
    new envelopes, with a ``RecipientSkipped`` warning (docs/recipients.md).

    Arguments of all methods: ``context`` is the encryption context, public pairs of str that the KMS binds to
    the wrapped DEK and that stand readable in the header; when given at decryption it must equal the stored
    one, ``{}`` meaning none, or ``ContextMismatch`` is raised before any KMS call. ``aad`` is associated
    data, bytes that must be the same at both ends and are stored nowhere.

    Raises, beside what each method names: ``KmsError`` when a KMS refuses or fails, ``NoUsableKey`` when no
    recipient can be unwrapped, ``FormatError`` for what is not an envelope, ``AuthenticationError`` for data
    that is not authentic, ``TruncatedError`` for data that ends too early.

    Safe to share between threads and to pickle: it carries its configuration, never a key. A forked child
    starts with an empty cache.
    """

    def __init__(
        self,
        *keys: Wrapper | Opener,
        suite: str = DEFAULT_SUITE,
        cache: CachePolicy | None = None,
        on_event: Callable[[Any], None] | None = None,
        require_all: bool = True,
    ) -> None:
        self._suite = Suite(suite)
        self._policy = CachePolicy() if cache is None else cache
        self._on_event = on_event
        self._keys = keys
        self._require_all = require_all
        keyset = KeySet(keys, require_all=require_all, on_skip=partial(_tell_of_skipped, on_event))
        self._datakeys = DataKeys(keyset, self._suite, self._policy, on_event=on_event)

    def encrypt(
        self, data: BytesLike, *, context: Context = None, aad: BytesLike = b"", header_room: int = 0
    ) -> bytes:
        """The envelope of ``data``. Raises ``TypeError`` for str: encode text first.

        ``header_room``: spare bytes in the header, for keys that a re-wrap adds later (docs/rewrap.md).
        """
        view, context_json = byte_view(data), encode_context(context)
        bound = context_bytes(context_json, byte_view(aad, "aad"))
        with self._datakeys.for_writing(context_json, len(view)) as lease:
            cipher = encryptor(self._suite, lease.dek, bound)
            header = add_room(lease.header, header_room) if header_room else lease.header
        return b"".join((header, cipher.update(view), cipher.finalize()))

    def decrypt(self, blob: BytesLike, *, context: Context = None, aad: BytesLike = b"") -> bytes:
        """The data in an envelope."""
        view = byte_view(blob, "blob")
        raw = header_bytes(view)
        body = view[len(raw) :]
        lease = self._datakeys.known(raw)
        if lease is None:  # every refusal that needs no KMS comes first
            header = decode_header(view)[0]
            self._bound(header, context, aad)
            plain_size(len(body))
            lease = self._datakeys.for_reading(header)
        with lease:
            header = lease.header_value
            cipher = decryptor(header.suite, lease.dek, self._bound(header, context, aad))
        plain_size(len(body))
        try:
            return cipher.update(body) + cipher.finalize()
        except InvalidTag:
            raise AuthenticationError from None

    @overload
    def open(
        self,
        file: PathLike | Sink,
        mode: Literal["wb", "xb"],
        *,
        context: Context = None,
        aad: BytesLike = b"",
        durable: bool = False,
        header_room: int = 0,
    ) -> EncryptingWriter: ...

    @overload
    def open(
        self,
        file: PathLike | Source,
        mode: Literal["rb"] = "rb",
        *,
        context: Context = None,
        aad: BytesLike = b"",
        durable: bool = False,
        header_room: int = 0,
    ) -> DecryptingReader: ...

    def open(
        self,
        file: Any,
        mode: str = "rb",
        *,
        context: Context = None,
        aad: BytesLike = b"",
        durable: bool = False,
        header_room: int = 0,
    ) -> EncryptingWriter | DecryptingReader:
        """An envelope as a binary file: ``"wb"`` (replace), ``"xb"`` (must not exist) or ``"rb"``.

        ``file`` is a path, or any object with ``write`` or ``read``, which is left open. A path appears, or
        is replaced, only when the writer is closed; ``durable`` flushes it to the disk then. The reader seeks
        if its source does. Wrap it in ``io.TextIOWrapper`` for text. ``header_room`` as for ``encrypt``.
        """
        if mode == "rb":
            return self._open_reader(file, context, aad)
        if mode in {"wb", "xb"}:
            return self._open_writer(
                file, mode == "wb", context, aad, durable=durable, header_room=header_room
            )
        raise ValueError(f"mode must be 'rb', 'wb' or 'xb', not {mode!r}; for text use io.TextIOWrapper")

    def encrypt_file(
        self,
        source: PathLike,
        destination: PathLike,
        *,
        context: Context = None,
        aad: BytesLike = b"",
        progress: Progress | None = None,
        overwrite: bool = False,
        durable: bool = False,
        header_room: int = 0,
    ) -> Header:
        """Encrypt a file; the destination appears, or is replaced, when it is complete.

        ``progress`` is called with the bytes done and the total, None if unknown. ``durable`` flushes file
        and folder to the disk. ``header_room`` as for ``encrypt``. Raises ``FileExistsError`` without
        ``overwrite``, ``ValueError`` if both paths name one file, other ``OSError`` of the file system.
        Returns the header.
        """
        context_json = encode_context(context)
        bound = context_bytes(context_json, byte_view(aad, "aad"))
        refuse_same_file(source, destination)
        with (
            SourceFile(source) as reader,
            AtomicFile(destination, overwrite=overwrite, durable=durable) as target,
        ):
            with self._datakeys.for_writing(context_json) as lease:
                cipher = encryptor(self._suite, lease.dek, bound)
            sink = FdSink(target.fd)
            write_all(sink, add_room(lease.header, header_room))
            seal_file(reader, sink, cipher, progress, lease.charge)
            target.commit()
            return lease.header_value

    def decrypt_file(
        self,
        source: PathLike,
        destination: PathLike,
        *,
        context: Context = None,
        aad: BytesLike = b"",
        progress: Progress | None = None,
        overwrite: bool = False,
        durable: bool = False,
    ) -> Header:
        """Decrypt a file; the destination appears, or is replaced, after the last chunk was authenticated.

        Arguments, errors and result as for ``encrypt_file``.
        """
        refuse_same_file(source, destination)
        with (
            SourceFile(source) as reader,
            AtomicFile(destination, overwrite=overwrite, durable=durable) as target,
        ):
            header = self._open_body(reader, FdSink(target.fd), context, aad, progress)
            target.commit()
            return header

    def verify_file(
        self,
        source: PathLike,
        *,
        context: Context = None,
        aad: BytesLike = b"",
        progress: Progress | None = None,
    ) -> Header:
        """Authenticate a whole envelope and write nothing. Returns its header."""
        with SourceFile(source) as reader:
            return self._open_body(reader, NoSink(), context, aad, progress)

    def stats(self) -> dict[str, Any]:
        """Counters of the data-key cache since the client was made (docs/caching.md)."""
        return self._datakeys.stats()

    def forget(self, key_id: str) -> None:
        """Drop and wipe every cached DEK that ``key_id`` wraps."""
        self._datakeys.forget(key_id)

    def close(self) -> None:
        """Wipe every cached DEK. Streams already open go on."""
        self._datakeys.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"EnvelopeClient({', '.join(map(str, self._keys))}, suite={str(self._suite)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self._keys, str(self._suite), self._policy, self._on_event, self._require_all)
        return (_rebuild, arguments)

    def _bound(self, header: Header, context: Context, aad: BytesLike) -> bytes:
        """What the body's derivation binds, once the caller's context proved to be the header's."""
        if context is not None and context != header.context:
            given = encode_context(context)
            # Another encoder may have written the same pairs differently.
            if given != header.context_json and dict(context) != header.context:
                raise ContextMismatch(
                    "the encryption context given is not the one in the header, which inspect() shows"
                )
        return context_bytes(header.context_json, byte_view(aad, "aad"))

    def _open_body(
        self, reader: SourceFile, sink: Sink, context: Context, aad: BytesLike, progress: Progress | None
    ) -> Header:
        header, _ = read_header(lambda size: read_exactly(reader, size))
        bound = self._bound(header, context, aad)
        with self._datakeys.for_reading(header) as lease:
            cipher = decryptor(header.suite, lease.dek, bound)
        open_file(reader, sink, cipher, progress)
        return header

    def _open_writer(
        self,
        file: Any,
        overwrite: bool,
        context: Context,
        aad: BytesLike,
        *,
        durable: bool,
        header_room: int,
    ) -> EncryptingWriter:
        context_json = encode_context(context)
        bound = context_bytes(context_json, byte_view(aad, "aad"))
        commit = discard = _nothing
        sink = file
        if isinstance(file, str | os.PathLike):
            target = AtomicFile(file, overwrite=overwrite, durable=durable)
            commit, discard, sink = target.commit, target.discard, FdSink(target.fd)
        elif not hasattr(file, "write"):
            raise TypeError(f"file must be a path or have write(), not {type(file).__name__}")
        try:
            with self._datakeys.for_writing(context_json) as lease:
                cipher = encryptor(self._suite, lease.dek, bound)
            write_all(sink, add_room(lease.header, header_room))
        except BaseException:
            discard()
            raise
        return EncryptingWriter(
            sink, lease.header_value, cipher, on_bytes=lease.charge, commit=commit, discard=discard
        )

    def _open_reader(self, file: Any, context: Context, aad: BytesLike) -> DecryptingReader:
        owned = isinstance(file, str | os.PathLike)
        if not owned and not hasattr(file, "read"):
            raise TypeError(f"file must be a path or have read(), not {type(file).__name__}")
        source = io.FileIO(file) if owned else file
        try:
            header, _ = read_header(lambda size: read_exactly(source, size))
            bound = self._bound(header, context, aad)
            prefix = read_exactly(source, BODY_PREFIX)
            if len(prefix) < BODY_PREFIX:
                raise TruncatedError
            with self._datakeys.for_reading(header) as lease:
                keys = derive_checked(header.suite, lease.dek, prefix, bound)
            start = source.tell() if getattr(source, "seekable", bool)() else None
        except BaseException as error:
            if owned:
                source.close()
            if isinstance(error, InvalidTag):
                raise AuthenticationError from None
            raise
        cipher = ChunkCipher(header.suite, keys)
        return DecryptingReader(source, header, cipher, start=start, owns_source=owned)


def _nothing() -> None:
    pass


def _tell_of_skipped(on_event: Callable[[Any], None] | None, name: str, error: KmsError) -> None:
    if on_event is not None:
        on_event(CacheEvent("recipient_skipped", {"key": name, "error": str(error)}))


def _rebuild(
    keys: tuple[Any, ...],
    suite: str,
    cache: CachePolicy,
    on_event: Callable[[Any], None] | None,
    require_all: bool,
) -> EnvelopeClient:
    return EnvelopeClient(*keys, suite=suite, cache=cache, on_event=on_event, require_all=require_all)
