"""A KMS in this process: the emulator's engine without a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import KmsAccessDenied, KmsUnavailable
from .retry import Retry
from .service import Kms
from .transport import ServiceError


class LocalTransport:
    """Calls into an ``Engine`` over a ``Store``."""

    name = "local"
    region = None

    def __init__(self, path: str | os.PathLike[str] | None, passphrase: str | None) -> None:
        from ..emulator.engine import Engine, Policy
        from ..emulator.store import Store, StoreError, WrongPassphrase

        self._path = None if path is None else os.path.abspath(os.fspath(path))
        self._passphrase = passphrase
        try:
            self._store = Store(self._path, passphrase)
        except WrongPassphrase as error:
            raise KmsAccessDenied(str(error), code="WrongPassphrase", action="LocalKms") from None
        except StoreError as error:
            raise KmsUnavailable(str(error), code="StoreError", action="LocalKms") from None
        # The limit of CMKs is the cloud service's; this store has none.
        self._engine = Engine(self._store, policy=Policy(cmk_limit=sys.maxsize))
        self._closed = False

    def call(self, action: str, params: Mapping[str, object]) -> dict[str, Any]:
        """Run one action. Raises ``ServiceError``."""
        from ..emulator.engine import EngineError

        if self._closed:
            raise ValueError("this LocalKms is closed")
        try:
            return self._engine.call(action, params)
        except EngineError as error:
            raise ServiceError(error.code, error.message) from None

    def close(self) -> None:
        """Close the store. Keys in memory are gone."""
        self._closed = True
        self._store.close()

    def __reduce__(self) -> tuple[type[LocalTransport], tuple[str, str | None]]:
        if self._path is None:
            raise TypeError("a LocalKms in memory cannot be pickled: give it a file, LocalKms('keys.db')")
        return (LocalTransport, (self._path, self._passphrase))


class LocalKms(Kms):
    """A KMS on this machine, for development, tests and data that never leaves it.

    It speaks the API of Tencent Cloud KMS. Keys live in a SQLite file of mode 0600 at ``path``, created if
    missing; without a path they live in memory and end with the object. With ``passphrase`` the key material
    in the file is encrypted; without it, whoever reads the file has the keys.

    One file may serve several processes. After ``fork`` a child opens the file anew; a store in memory
    becomes the child's own copy. A pickle holds the path and the passphrase; to pickle one in memory is a
    ``TypeError``. Raises ``KmsAccessDenied`` for a wrong passphrase, ``KmsUnavailable`` for a file that is no
    key store, ``OSError`` for one that cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, passphrase: str | None = None) -> None:
        super().__init__(LocalTransport(path, passphrase), retry=Retry(deadline=0))
