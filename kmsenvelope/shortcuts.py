"""The short way: one call with a key address, for scripts and the command line."""

from __future__ import annotations

import os
from typing import Any

from .addresses import KeyAddress, open_kms
from .atomic import PathLike
from .buffers import BytesLike
from .client import Context, EnvelopeClient
from .datakeys import CachePolicy
from .files import Progress
from .header import Header, decode_header, read_header
from .journal import header_at
from .streams import Source, read_exactly
from .suites import DEFAULT_SUITE


def connect(*addresses: str, suite: str = DEFAULT_SUITE, cache: CachePolicy | None = None) -> EnvelopeClient:
    """A client for the keys at ``addresses``: ``local:ALIAS_OR_ID`` (the user's own store),
    ``local:/path/keys.db#ALIAS_OR_ID`` or ``tencent:REGION/KEY_ID``.

    Credentials come from the SDK's own chain; ``KMSENVELOPE_HOME`` moves the user's store,
    ``KMSENVELOPE_PASSPHRASE`` opens it, ``KMSENVELOPE_ENDPOINT`` names another endpoint of the service.
    Raises ``ValueError`` for what is not a key address.
    """
    if not addresses:
        raise ValueError("give at least one key address")
    parsed = [KeyAddress.parse(address) for address in addresses]
    services = {(address.kms, address.place): address for address in parsed}
    opened = {place: open_kms(address) for place, address in services.items()}
    keys = [opened[address.kms, address.place].key(address.key) for address in parsed]
    return EnvelopeClient(*keys, suite=suite, cache=cache)


def encrypt_file(
    source: PathLike,
    destination: PathLike,
    *,
    key: str,
    suite: str = DEFAULT_SUITE,
    context: Context = None,
    aad: BytesLike = b"",
    progress: Progress | None = None,
    overwrite: bool = False,
    durable: bool = False,
) -> Header:
    """``EnvelopeClient.encrypt_file`` with the key at an address, see ``connect``."""
    with connect(key, suite=suite) as client:
        return client.encrypt_file(
            source,
            destination,
            context=context,
            aad=aad,
            progress=progress,
            overwrite=overwrite,
            durable=durable,
        )


def decrypt_file(
    source: PathLike,
    destination: PathLike,
    *,
    key: str,
    context: Context = None,
    aad: BytesLike = b"",
    progress: Progress | None = None,
    overwrite: bool = False,
    durable: bool = False,
) -> Header:
    """``EnvelopeClient.decrypt_file`` with the key at an address, see ``connect``."""
    with connect(key) as client:
        return client.decrypt_file(
            source,
            destination,
            context=context,
            aad=aad,
            progress=progress,
            overwrite=overwrite,
            durable=durable,
        )


def inspect(envelope: PathLike | BytesLike | Source) -> Header:
    """The header of an envelope, given as path, bytes or file; no KMS is called.

    Nothing in it is authenticated until the body is opened. A file is read from where it stands, as far as
    the header goes. Raises ``FormatError``, ``OSError``.
    """
    if isinstance(envelope, bytes | bytearray | memoryview):
        return decode_header(envelope)[0]
    if isinstance(envelope, str | os.PathLike):
        with open(envelope, "rb") as file:
            return header_at(envelope, file.fileno()) if file.seekable() else inspect(file)
    if not hasattr(envelope, "read"):
        raise TypeError(f"give a path, bytes or an object with read(), not {type(envelope).__name__}")
    source: Any = envelope
    return read_header(lambda size: read_exactly(source, size))[0]
