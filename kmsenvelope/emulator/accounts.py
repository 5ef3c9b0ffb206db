"""Who may call: secret ids with their keys, and temporary credentials with a token and an end."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .errors import EngineError


class Credential(NamedTuple):
    """What a client signs with. ``token`` only with temporary credentials."""

    secret_id: str
    secret_key: str
    token: str | None = None


@dataclass
class _Entry:
    secret_key: str
    token: str | None = None
    expires: float | None = None


class Accounts:
    """The credentials that the emulator accepts. Safe for several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def add(self, secret_id: str | None = None, secret_key: str | None = None) -> Credential:
        """Accept a pair for good; made up where not given."""
        credential = Credential(
            secret_id or f"AKID{secrets.token_hex(16)}", secret_key or secrets.token_hex(16)
        )
        with self._lock:
            self._entries[credential.secret_id] = _Entry(credential.secret_key)
        return credential

    def temporary(self, seconds: float = 7200) -> Credential:
        """Accept a new pair with a token for so long, by the emulator's clock."""
        credential = Credential(
            f"AKID{secrets.token_hex(16)}", secrets.token_hex(16), secrets.token_urlsafe(48)
        )
        with self._lock:
            entry = _Entry(credential.secret_key, credential.token, self._clock() + seconds)
            self._entries[credential.secret_id] = entry
        return credential

    def keep_only(self, secret_id: str) -> None:
        """Accept no other secret id any more."""
        with self._lock:
            self._entries = {secret_id: self._entries[secret_id]}

    def remove(self, secret_id: str) -> None:
        """Accept this secret id no more."""
        with self._lock:
            del self._entries[secret_id]

    def secret_key_of(self, secret_id: str) -> str | None:
        """The key that belongs to the id, if it is known."""
        with self._lock:
            entry = self._entries.get(secret_id)
        return entry.secret_key if entry else None

    def check_token(self, secret_id: str, token: str | None) -> None:
        """Raises ``EngineError`` (TokenFailure) for a missing, wrong, needless or expired token."""
        with self._lock:
            entry = self._entries.get(secret_id)
        expected = entry.token if entry else None
        if not hmac.compare_digest((expected or "").encode(), (token or "").encode()):
            raise EngineError("AuthFailure.TokenFailure", "the token does not belong to the secret id")
        if entry and entry.expires is not None and self._clock() >= entry.expires:
            raise EngineError("AuthFailure.TokenFailure", "the temporary credential has expired")
