"""From key addresses and places on the command line to open keys, KMS objects and clients."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from kmsenvelope.addresses import KeyAddress, default_store, open_kms

from .exits import UsageError

if TYPE_CHECKING:
    from kmsenvelope.client import EnvelopeClient
    from kmsenvelope.kms.masterkey import MasterKey
    from kmsenvelope.kms.private import PrivateKey
    from kmsenvelope.kms.public import PublicKey
    from kmsenvelope.kms.service import Kms


@contextmanager
def open_client(
    addresses: list[str],
    others: Sequence[PublicKey | PrivateKey] = (),
    *,
    suite: str | None = None,
    one_shot: bool = False,
) -> Iterator[EnvelopeClient]:
    """A client for the keys at ``addresses`` and ``others``; a ``one_shot`` one keeps no DEK for later."""
    from kmsenvelope.client import EnvelopeClient
    from kmsenvelope.policy import CachePolicy
    from kmsenvelope.suites import DEFAULT_SUITE

    cache = CachePolicy.disabled() if one_shot else CachePolicy(refresh_ahead=None)
    with ExitStack() as stack:
        keys = _open_keys([KeyAddress.parse(address) for address in addresses], stack)
        yield stack.enter_context(EnvelopeClient(*keys, *others, suite=suite or DEFAULT_SUITE, cache=cache))


@contextmanager
def open_keys(*groups: list[str]) -> Iterator[list[list[MasterKey]]]:
    """The keys at several lists of addresses."""
    with ExitStack() as stack:
        keys = iter(_open_keys([KeyAddress.parse(address) for group in groups for address in group], stack))
        yield [[next(keys) for _ in group] for group in groups]


@contextmanager
def open_key(address: KeyAddress) -> Iterator[MasterKey]:
    """The key at an address."""
    with ExitStack() as stack:
        yield _open_keys([address], stack)[0]


@contextmanager
def open_place(place: KeyAddress, *, create: bool = False) -> Iterator[Kms]:
    """The KMS at a place. A local store that is not there is made if ``create``, else ``KeyUnavailable``."""
    with open_kms(place, create=create) as opened:
        yield opened


def place_of(store: str | None, kms: str | None) -> KeyAddress:
    """The place that ``--store`` or ``--kms`` names, else the user's own local store; its key is empty."""
    if store is not None and kms is not None:
        raise UsageError("give either --store or --kms")
    kind, _, place = (kms or "local").partition(":")
    if kind == "local":
        return KeyAddress("local", store or place or str(default_store()), "")
    if kind == "tencent" and place and "/" not in place:
        return KeyAddress("tencent", place, "")
    raise UsageError(f"--kms takes tencent:REGION, local or local:PATH, not {kms!r}")


def named_key(name: str, store: str | None, kms: str | None) -> KeyAddress:
    """A key given by its address, or by its alias or id in the place of ``--store`` or ``--kms``."""
    if ":" not in name:
        place = place_of(store, kms)
        return KeyAddress(place.kms, place.place, name)
    if store is not None or kms is not None:
        raise UsageError(f"{name} says where the key is: leave --store and --kms out")
    return KeyAddress.parse(name)


def address_text(place: KeyAddress, key_id: str) -> str:
    """The address, as text, that finds ``key_id`` in ``place`` again from anywhere."""
    if place.kms != "local":
        return f"{place.kms}:{place.place}/{key_id}"
    path = _absolute(place.place)
    return f"local:{key_id}" if path == _absolute(str(default_store())) else f"local:{path}#{key_id}"


def will_be_made(place: KeyAddress) -> bool:
    """Whether this is a local store that is not there yet."""
    return place.kms == "local" and not _store_exists(place)


def _open_keys(addresses: list[KeyAddress], stack: ExitStack) -> list[MasterKey]:
    opened: dict[tuple[str, str], Kms] = {}
    for address in addresses:
        if (address.kms, address.place) not in opened:
            opened[address.kms, address.place] = stack.enter_context(open_place(address))
    return [opened[address.kms, address.place].key(address.key) for address in addresses]


def _store_exists(place: KeyAddress) -> bool:
    return os.path.exists(_absolute(place.place))


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
