"""EnvelopeClient: what an application uses to encrypt and decrypt bytes, streams and files."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Self, TypeVar, overload

from cryptography.exceptions import InvalidTag

from .atomic import AtomicFile, PathLike
from .blocks import opening, sealing
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
from .errors import AuthenticationError, ContextMismatch, EnvelopeError, KmsError, TruncatedError
from .files import FdSink, Progress, SourceFile, TargetFile, open_file, refuse_same_file, seal_file
from .header import Header, add_room, decode_header, header_bytes, read_header
from .journal import settled_header
from .keyset import Key, KeySet
from .kms.masterkey import MasterKey
from .rewrap import Rewraps
from .rewrapfile import FileRewrap, RewrapResult, rewrap_all
from .streams import DecryptingReader, EncryptingWriter, Sink, Source, read_exactly, write_all
from .suites import DEFAULT_SUITE, Suite

T = TypeVar("T")
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
        *keys: Key,
        suite: str = DEFAULT_SUITE,
        cache: CachePolicy | None = None,
        on_event: Callable[[CacheEvent], None] | None = None,
        require_all: bool = True,
    ) -> None:
        if not isinstance(cache, CachePolicy | None):
            raise TypeError(f"cache is a CachePolicy(max_age=…, …), not {type(cache).__name__}")
        self._suite = Suite(suite)
        self._policy = CachePolicy() if cache is None else cache
        self._on_event = on_event
        self._keys = keys
        self._require_all = require_all
        keyset = KeySet(keys, require_all=require_all, on_skip=partial(_tell_of_skipped, on_event))
        self._datakeys = DataKeys(keyset, self._suite, self._policy, on_event=on_event)
        self._rewraps = Rewraps(keyset, self._policy)

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
        try:
            return cipher.update(body) + cipher.finalize()
        except InvalidTag:
            plain_size(len(body))  # a size that no body has is the better answer
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
        if its source does. For text wrap it in ``io.TextIOWrapper`` and end that with ``detach()``: see
        docs/recipes.md. ``header_room`` as for ``encrypt``.
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
                prefix, body = sealing(self._suite, lease.dek, bound)
            start = add_room(lease.header, header_room) + prefix
            write_all(FdSink(target.fd), start)
            seal_file(reader, TargetFile(target.fd, len(start)), body, progress, lease.charge)
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
        with AtomicFile(destination, overwrite=overwrite, durable=durable) as target:
            header = self._open_body(source, target.fd, context, aad, progress)
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
        return self._open_body(source, None, context, aad, progress)

    def rewrap(
        self,
        blob: BytesLike,
        keys: Sequence[Key] | None = None,
        *,
        add: Sequence[Key] | None = None,
        remove: Iterable[Key | str] | None = None,
        aad: BytesLike | None = b"",
        verify: bool = True,
        refresh: bool = False,
        header_room: int = 0,
    ) -> bytes:
        """The envelope ``blob`` with other keys: ``keys`` (default: this client's), or some more and less.

        This client's keys open it. The same bytes come back if its keys are those wanted. Arguments and
        errors as for ``rewrap_file``. KMS calls are made once for each wrapped DEK and then remembered.
        """
        view = byte_view(blob, "blob")
        header, size = decode_header(view)
        body = bytes(view[size : size + BODY_PREFIX])
        plain_size(len(view) - size)
        rewrap = self._rewraps.get(keys, add, remove, verify=verify, refresh=refresh)
        recipients = rewrap.recipients(header, body, aad)
        if recipients == header.recipients:
            return bytes(view)
        new = Header(header.suite, recipients, header.context_json)
        return add_room(new.encode(), header_room) + view[size:]

    def rewrap_file(
        self,
        path: PathLike,
        keys: Sequence[Key] | None = None,
        *,
        add: Sequence[Key] | None = None,
        remove: Iterable[Key | str] | None = None,
        aad: BytesLike | None = b"",
        verify: bool = True,
        refresh: bool = False,
        in_place: bool | None = None,
        header_room: int = 0,
        check: bool = False,
    ) -> RewrapResult:
        """Give an envelope in a file other keys, without reading or changing its body (docs/rewrap.md).

        ``keys``: those that it is to have, by default this client's. ``add`` and ``remove`` change its list
        instead; ``remove`` also takes key ids and addresses. This client's keys open it. ``aad``: as at
        encryption, to check the body's commitment; None if it is not known. ``verify=False`` skips all
        checks: the DEK then never leaves the KMS where ReEncrypt can be used. ``refresh``: keys that stay are
        wrapped again too, by the latest version of a rotated CMK. ``in_place``: True, False, or None for
        whichever is better. ``header_room``: spare bytes in the header of a new file. ``check``: only say
        what is due.

        Raises ``NoUsableKey`` if this client cannot open it or the new keys are not seen to,
        ``AuthenticationError`` if the body does not open with this aad, ``ValueError`` if no key would be
        left or the header does not fit in place, ``BlockingIOError`` if it is being re-wrapped,
        ``PermissionError`` if it is read-only, other ``OSError``.
        """
        rewrap = self._rewraps.get(keys, add, remove, verify=verify, refresh=refresh)
        files = FileRewrap(rewrap, in_place=in_place, header_room=header_room)
        return files.check(path) if check else files.run(path, aad)

    def rewrap_files(
        self,
        paths: Iterable[PathLike],
        keys: Sequence[Key] | None = None,
        *,
        add: Sequence[Key] | None = None,
        remove: Iterable[Key | str] | None = None,
        aad: BytesLike | None = b"",
        verify: bool = True,
        refresh: bool = False,
        in_place: bool | None = None,
        header_room: int = 0,
        check: bool = False,
    ) -> Iterator[RewrapResult]:
        """``rewrap_file`` for each path and each file below each folder, going on after an error.

        Yields a result for each, with ``error`` set where it failed; it may simply be run again.
        """
        if isinstance(paths, str | bytes | os.PathLike):
            raise TypeError("paths is a list of paths: write [path]")
        rewrap = self._rewraps.get(keys, add, remove, verify=verify, refresh=refresh)
        files = FileRewrap(rewrap, in_place=in_place, header_room=header_room)
        return rewrap_all(paths, files, aad, check=check)

    def needs_rewrap(
        self,
        header: Header,
        keys: Sequence[Key] | None = None,
        *,
        add: Sequence[Key] | None = None,
        remove: Iterable[Key | str] | None = None,
    ) -> bool:
        """Whether ``rewrap`` would change the keys of an envelope with this header, which ``inspect`` gives.

        No KMS is called, except once for each alias.
        """
        return self._rewraps.change(keys, add, remove).concerns(header)

    def stats(self) -> dict[str, Any]:
        """Counters of the data-key cache since the client was made (docs/caching.md).

        ``kms_calls`` counts those of re-wraps as well.
        """
        stats = self._datakeys.stats()
        stats["kms_calls"] = dict(Counter(stats["kms_calls"]) + self._rewraps.calls())
        return stats

    def forget(self, key_id: str) -> None:
        """Drop and wipe every cached DEK that the key wraps. It may go by the alias that it was given by."""
        cmks = [key for key in self._keys if isinstance(key, MasterKey)]
        for name in {key_id, *(key.key_id for key in cmks if key.goes_by(key_id))}:
            self._datakeys.forget(name)

    def close(self) -> None:
        """Wipe every cached DEK. Streams already open go on."""
        self._datakeys.close()
        self._rewraps.close()

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
        self, path: PathLike, fd: int | None, context: Context, aad: BytesLike, progress: Progress | None
    ) -> Header:
        with SourceFile(path) as reader:
            header, body = self._begin(reader, path, context, aad, opening)
            open_file(reader, None if fd is None else TargetFile(fd), body, progress)
            return header

    def _begin(
        self,
        source: Any,
        path: PathLike | None,
        context: Context,
        aad: BytesLike,
        derive: Callable[[Suite, BytesLike, bytes, bytes], T],
    ) -> tuple[Header, T]:
        """Read up to the body's commitment; ``derive`` makes of that and the DEK what opens the rest.

        A header that fails may be one that is being re-wrapped in place, or was when the machine stopped.
        """
        raw: bytes | None = None
        try:
            header, raw = read_header(lambda size: read_exactly(source, size))
            return header, self._derived(header, source, context, aad, derive)
        except EnvelopeError:
            settled = None if path is None else settled_header(path, source.fileno(), raw)
            if settled is None:
                raise
        header, size = decode_header(settled)
        source.seek(size)
        return header, self._derived(header, source, context, aad, derive)

    def _derived(
        self,
        header: Header,
        source: Source,
        context: Context,
        aad: BytesLike,
        derive: Callable[[Suite, BytesLike, bytes, bytes], T],
    ) -> T:
        bound = self._bound(header, context, aad)
        prefix = read_exactly(source, BODY_PREFIX)
        if len(prefix) < BODY_PREFIX:
            raise TruncatedError
        with self._datakeys.for_reading(header) as lease:
            try:
                return derive(header.suite, lease.dek, prefix, bound)
            except InvalidTag:
                raise AuthenticationError from None

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
            header, keys = self._begin(source, file if owned else None, context, aad, derive_checked)
            start = source.tell() if getattr(source, "seekable", bool)() else None
        except BaseException:
            if owned:
                source.close()
            raise
        cipher = ChunkCipher(header.suite, keys)
        return DecryptingReader(source, header, cipher, start=start, owns_source=owned)


def _nothing() -> None:
    pass


def _tell_of_skipped(on_event: Callable[[CacheEvent], None] | None, name: str, error: KmsError) -> None:
    if on_event is not None:
        on_event(CacheEvent("recipient_skipped", {"key": name, "error": str(error)}))


def _rebuild(
    keys: tuple[Any, ...],
    suite: str,
    cache: CachePolicy,
    on_event: Callable[[CacheEvent], None] | None,
    require_all: bool,
) -> EnvelopeClient:
    return EnvelopeClient(*keys, suite=suite, cache=cache, on_event=on_event, require_all=require_all)
