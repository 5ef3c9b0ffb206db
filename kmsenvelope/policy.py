"""How long and how far one DEK may be used: the owner's decision, in one value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """The windows of the data-key cache. docs/caching.md gives the reasons for each default.

    Encrypt side: a DEK serves new messages for one encryption context until the first of three windows
    closes.

    - ``max_age``: seconds from the DEK's arrival. 0: no reuse, each message has its own DEK.
    - ``max_messages``: messages that may start under one DEK. 1: no reuse.
    - ``max_bytes``: bytes of plaintext; a message of known size that no longer fits starts a new DEK, the
      bytes of a stream count as they flow.

    Both sides:

    - ``capacity``: DEKs kept, for encryption and for decryption each; the least recently used leaves first.
    - ``refresh_ahead``: the share of a window (0 to 1, exclusive) from which on one background call fetches
      the next DEK; the moment is drawn at random from the first half of what is left, so that hosts do not
      act in step. ``None``: off, the caller that finds the window closed waits for the KMS.
    - ``stale_if_unavailable``: seconds that a DEK may be used past its age while the KMS cannot be reached
      (``KmsUnavailable``, ``KmsThrottled``). 0: never.

    Decrypt side:

    - ``decrypt_max_age``: seconds that an unwrapped DEK is kept. 0: every envelope costs a call.

    Raises ``TypeError`` and ``ValueError`` for values outside these limits.
    """

    max_age: float = 300.0
    max_messages: int = 1 << 32
    max_bytes: int = 1 << 40
    capacity: int = 1000
    refresh_ahead: float | None = 0.5
    stale_if_unavailable: float = 0.0
    decrypt_max_age: float = 300.0

    def __post_init__(self) -> None:
        for name in ("max_age", "stale_if_unavailable", "decrypt_max_age"):
            _check_seconds(name, getattr(self, name))
        for name in ("max_messages", "max_bytes", "capacity"):
            _check_count(name, getattr(self, name))
        if self.refresh_ahead is not None:
            _check_share("refresh_ahead", self.refresh_ahead)

    @classmethod
    def disabled(cls) -> Self:
        """One key at a time: a new DEK for every message, a KMS call for every envelope read."""
        return cls(max_age=0, max_messages=1, refresh_ahead=None, decrypt_max_age=0)


def _check_seconds(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} is a number of seconds, not {type(value).__name__}")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is a finite number of seconds, 0 or more; not {value!r}")


def _check_share(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} is a number between 0 and 1 or None, not {type(value).__name__}")
    if not 0 < value < 1:
        raise ValueError(f"{name} is a share of the window, over 0 and under 1, or None; not {value!r}")


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} is at least 1, not {value}")
