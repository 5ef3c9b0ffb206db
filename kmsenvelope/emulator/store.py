"""The key store: one SQLite file (or memory) with records and secrets, these sealed under a passphrase."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from stat import S_IMODE
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from .records import DataKey, ImportToken, Key

SCRYPT_N = 2**17
"""Cost of a passphrase: 128 MiB and some tenths of a second, once per opening."""

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    region TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    due INTEGER,
    body TEXT NOT NULL,
    UNIQUE (kind, region, id),
    UNIQUE (kind, region, name)
);
CREATE INDEX records_due ON records (due) WHERE due IS NOT NULL;
CREATE TABLE secrets (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (owner, name)
) WITHOUT ROWID;
"""

_BUSY_SECONDS = 30.0
_CHECK_OWNER, _CHECK_NAME = "store", "passphrase check"

AnyRecord = Key | DataKey | ImportToken
R = TypeVar("R", Key, DataKey, ImportToken)


class StoreError(Exception):
    """The key store cannot be used: not such a file, made by a newer version, locked, or the disk is full."""


class WrongPassphrase(StoreError):
    """The passphrase is not the one that protects the key store, or is missing, or there should be none."""


class NameTaken(Exception):
    """Another record of the same kind and region already has this name."""


class Store:
    """Records and secrets, in the SQLite file ``path`` (created with mode 0600) or in memory for ``None``.

    Safe for several threads and, with a file, several processes: WAL, one writer at a time. With a
    ``passphrase`` every secret is sealed by AES-256-GCM under a key from scrypt, bound to its owner and name,
    so that the file alone discloses no key; aliases and other metadata stay readable. Without one, whoever
    reads the file has the keys. This is a development and offline store: there is no HSM.

    Raises ``WrongPassphrase`` or ``StoreError``, and ``OSError`` where the file cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        passphrase: str | bytes | None = None,
        *,
        scrypt_n: int = SCRYPT_N,
    ) -> None:
        if passphrase is not None and not passphrase:
            raise ValueError("the passphrase of a key store must not be empty")
        self.path = None if path is None else Path(path)
        self._kek: AESGCM | None = None
        self._open()
        try:
            self._kek = self._unlock(passphrase, scrypt_n)
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._lock = threading.RLock()
        self._connection = _connect(self.path)
        self._finalizer = weakref.finalize(self, self._connection.close)
        self._pid = os.getpid()  # last: from now on no thread takes the connection of a parent for its own

    def _unlock(self, passphrase: str | bytes | None, scrypt_n: int) -> AESGCM | None:
        if isinstance(passphrase, str):
            passphrase = passphrase.encode()
        with self.transaction(write=True) as tx:
            scrypt = tx.meta("scrypt")
            if scrypt is None:
                return self._protect(tx, passphrase, scrypt_n)
            settings = json.loads(scrypt)
            if settings is None:
                if passphrase is not None:
                    raise WrongPassphrase("this key store has no passphrase: open it without one")
                return None
            if passphrase is None:
                raise WrongPassphrase("this key store is protected: its passphrase is needed")
            self._kek = _derive(passphrase, settings)
            try:
                tx.secret(_CHECK_OWNER, _CHECK_NAME)
            except StoreError:
                raise WrongPassphrase("wrong passphrase for this key store") from None
            return self._kek

    def _protect(self, tx: Transaction, passphrase: bytes | None, scrypt_n: int) -> AESGCM | None:
        if passphrase is None:
            tx.set_meta("scrypt", "null")
            return None
        settings: dict[str, str | int] = {"salt": secrets.token_hex(16), "n": scrypt_n, "r": 8, "p": 1}
        tx.set_meta("scrypt", json.dumps(settings))
        self._kek = _derive(passphrase, settings)
        tx.set_secret(_CHECK_OWNER, _CHECK_NAME, b"")
        return self._kek

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Transaction]:
        """A consistent view; with ``write`` the only writer. Committed at the end, undone on an exception."""
        if self._pid != os.getpid():
            self._after_fork(reopen=True)
        with self._lock:
            if not self._finalizer.alive:
                raise ValueError("the key store is closed")
            connection = self._connection
            try:
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield Transaction(self, connection)
                connection.execute("COMMIT")
            except BaseException as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise StoreError(f"{self!r}: {error}") from error
                raise

    def _after_fork(self, *, reopen: bool) -> None:
        # SQLite connections must not cross a fork; the parent's stays open here, unused, for its locks' sake.
        with _forked.lock:
            if self._pid == os.getpid():
                return
            parents, alive = self._finalizer, self._finalizer.alive
            if self.path is not None:
                _abandoned.append(self._connection)
            if self.path is not None and alive and reopen:
                self._open()
                parents.detach()
                return
            self._lock = threading.RLock()
            if self.path is not None:
                parents.detach()
            elif alive and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._pid = os.getpid()

    def close(self) -> None:
        """Close the file. A store in memory is gone."""
        if self._pid != os.getpid():
            self._after_fork(reopen=False)
        with self._lock:
            self._finalizer()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({'in memory' if self.path is None else str(self.path)!r})"


class Transaction:
    """Access to the records and secrets of a store, within ``Store.transaction``."""

    def __init__(self, store: Store, connection: sqlite3.Connection) -> None:
        self._store = store
        self._connection = connection

    def get(self, kind: type[R], region: str, record_id: str) -> R | None:
        """The record with this id, or ``None``."""
        found = self._load(kind, "region = ? AND id = ?", (region, record_id))
        return found[0] if found else None

    def all(self, kind: type[R], region: str) -> list[R]:
        """Every record of the kind in the region, oldest first."""
        return self._load(kind, "region = ?", (region,))

    def due(self, kind: type[R], now: float) -> list[R]:
        """The records, of all regions, whose ``due`` time has come."""
        return self._load(kind, "due <= ?", (now,))

    def any_due(self, now: float) -> bool:
        """Whether any record's ``due`` time has come."""
        row = self._connection.execute("SELECT 1 FROM records WHERE due <= ? LIMIT 1", (now,)).fetchone()
        return row is not None

    def _load(self, kind: type[R], where: str, values: tuple[object, ...]) -> list[R]:
        query = f"SELECT body FROM records WHERE kind = ? AND {where} ORDER BY seq"  # noqa: S608 - constants
        return [kind(**json.loads(body)) for (body,) in self._connection.execute(query, (kind.kind, *values))]

    def add(self, record: AnyRecord) -> None:
        """Insert a new record. Raises ``NameTaken``."""
        try:
            self._connection.execute(
                "INSERT INTO records (kind, region, id, name, due, body) VALUES (?, ?, ?, ?, ?, ?)",
                (record.kind, record.region, record.id, record.name, record.due, json.dumps(asdict(record))),
            )
        except sqlite3.IntegrityError:
            raise NameTaken(record.name) from None

    def save(self, record: AnyRecord) -> None:
        """Store the changes of a record. Raises ``NameTaken``."""
        try:
            self._connection.execute(
                "UPDATE records SET name = ?, due = ?, body = ? WHERE kind = ? AND region = ? AND id = ?",
                (
                    record.name,
                    record.due,
                    json.dumps(asdict(record)),
                    record.kind,
                    record.region,
                    record.id,
                ),
            )
        except sqlite3.IntegrityError:
            raise NameTaken(record.name) from None

    def remove(self, record: AnyRecord) -> None:
        """Delete a record and every secret of it."""
        self._connection.execute(
            "DELETE FROM records WHERE kind = ? AND region = ? AND id = ?",
            (record.kind, record.region, record.id),
        )
        self._connection.execute("DELETE FROM secrets WHERE owner = ?", (record.id,))

    def remove_all(self) -> None:
        """Delete every record and its secrets; the passphrase stays."""
        self._connection.execute("DELETE FROM records")
        self._connection.execute("DELETE FROM secrets WHERE owner != ?", (_CHECK_OWNER,))

    def secret(self, owner: str, name: str) -> bytes | None:
        """The secret ``name`` of ``owner``, or ``None``."""
        row = self._connection.execute(
            "SELECT sealed FROM secrets WHERE owner = ? AND name = ?", (owner, name)
        ).fetchone()
        if row is None:
            return None
        sealed = bytes(row[0])
        kek = self._store._kek
        if kek is None:
            return sealed
        try:
            return kek.decrypt(sealed[:12], sealed[12:], _bound_to(owner, name))
        except InvalidTag:
            raise StoreError(f"{self._store!r}: the material of {owner} was altered") from None

    def set_secret(self, owner: str, name: str, value: bytes) -> None:
        """Store or replace a secret, sealed if the store has a passphrase."""
        kek = self._store._kek
        if kek is not None:
            nonce = secrets.token_bytes(12)
            value = nonce + kek.encrypt(nonce, value, _bound_to(owner, name))
        self._connection.execute("INSERT OR REPLACE INTO secrets VALUES (?, ?, ?)", (owner, name, value))

    def drop_secret(self, owner: str, name: str) -> None:
        """Delete one secret, if it is there. SQLite overwrites its bytes (``secure_delete``)."""
        self._connection.execute("DELETE FROM secrets WHERE owner = ? AND name = ?", (owner, name))

    def meta(self, name: str) -> str | None:
        """A setting of the store itself."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Change a setting of the store itself."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


class _Forked:
    """A lock for what a child does once, new in every child."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.lock = threading.Lock()


_forked = _Forked()
_abandoned: list[sqlite3.Connection] = []

os.register_at_fork(after_in_child=_forked.renew)


def _connect(path: Path | None) -> sqlite3.Connection:
    undo = _nothing if path is None else _make_private(path)
    try:
        connection = sqlite3.connect(
            ":memory:" if path is None else os.fspath(path),
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _prepare(connection, in_file=path is not None)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, StoreError) as error:
        undo()
        raise StoreError(f"{path} cannot be used as a key store: {error}") from None
    return connection


def _make_private(path: Path) -> Callable[[], None]:
    """Give the file mode 0600 before SQLite sees it, so that its WAL gets that mode too.

    Returns what gives a file that proves to be no key store its own mode back.
    """
    try:
        # An existing file must not be opened here: closing it would drop SQLite's locks in this process.
        mode = path.stat().st_mode
        if mode & 0o077 and path.is_file():
            path.chmod(0o600)
            return lambda: path.chmod(S_IMODE(mode))
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    return _nothing


def _nothing() -> None:
    pass


def _prepare(connection: sqlite3.Connection, *, in_file: bool) -> None:
    connection.execute("BEGIN")  # one view of it: another process may be making it a key store
    try:
        _check_ours(connection)
    finally:
        connection.execute("ROLLBACK")
    if in_file:
        _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _check_ours(connection) == 0:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _check_ours(connection: sqlite3.Connection) -> int:
    """The schema version, 0 for an empty file. Raises ``StoreError`` before anything is written."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        raise StoreError("it was made by a newer version of this package")
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise StoreError("it is an SQLite database, but not a key store")
    return int(version)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not call its busy handler here: two processes that create the file at once need this loop.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _derive(passphrase: bytes, settings: dict[str, str | int]) -> AESGCM:
    scrypt = Scrypt(
        salt=bytes.fromhex(str(settings["salt"])),
        length=32,
        n=int(settings["n"]),
        r=int(settings["r"]),
        p=int(settings["p"]),
    )
    return AESGCM(scrypt.derive(passphrase))


def _bound_to(owner: str, name: str) -> bytes:
    return b"\0".join((b"kmsenvelope store 1", owner.encode(), name.encode()))
