"""Key addresses: ``local:ALIAS``, ``local:/path/keys.db#ALIAS``, ``tencent:REGION/KEY``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import KeyUnavailable

if TYPE_CHECKING:
    from .kms.service import Kms

FORMS = "local:ALIAS, local:/path/keys.db#ALIAS or tencent:REGION/KEY_ID"


@dataclass(frozen=True, slots=True)
class KeyAddress:
    """Where a key is. ``place`` is the path of a local store or a region, ``key`` a key id or alias."""

    kms: str
    place: str
    key: str

    @classmethod
    def parse(cls, address: str) -> KeyAddress:
        """Read a key address. Raises ``TypeError`` and ``ValueError``."""
        if not isinstance(address, str):
            raise TypeError(f"a key address is str, not {type(address).__name__}")
        kms, _, rest = address.partition(":")
        if kms == "local":
            place, _, key = rest.rpartition("#")
            place = place or str(default_store())
        elif kms == "tencent":
            place, _, key = rest.partition("/")
        else:
            place = key = ""
        if not place or not key or "/" in key:
            raise ValueError(f"{address!r} is not a key address: write {FORMS}")
        return cls(kms, place, key)


def default_store() -> Path:
    """The user's own key store: ``keys.db`` in ``KMSENVELOPE_HOME``, else in ``~/.kmsenvelope``."""
    home = os.environ.get("KMSENVELOPE_HOME")
    return (Path(home) if home else Path.home() / ".kmsenvelope") / "keys.db"


def open_kms(address: KeyAddress, *, create: bool = False) -> Kms:
    """The KMS that an address names; a local store that is not there is made only if ``create``.

    The passphrase of a local store comes from ``KMSENVELOPE_PASSPHRASE``, another endpoint than the public
    one from ``KMSENVELOPE_ENDPOINT``, credentials from where the SDK finds them: never from an envelope.
    Raises ``KeyUnavailable`` for a store that is not there, else as ``LocalKms`` and ``TencentKms``.
    """
    if address.kms == "tencent":
        from .kms.tencent import TencentKms

        return TencentKms(address.place, endpoint=os.environ.get("KMSENVELOPE_ENDPOINT") or None)
    from .kms.local import LocalKms

    store = Path(address.place).expanduser()
    if not create and not store.exists():
        raise KeyUnavailable(
            f"there is no key store {store} yet: 'kmsenvelope keys create NAME' makes your own, with --store "
            "PATH another one",
            code="NoStore",
            action="LocalKms",
        )
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LocalKms(store, passphrase=os.environ.get("KMSENVELOPE_PASSPHRASE") or None)
