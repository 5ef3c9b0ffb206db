"""The encryption context: public key/value pairs that the KMS binds to a wrapped DEK."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

MAX_CONTEXT_CHARS = 1024
"""Limit of the KMS on ``EncryptionContext``, in characters (Encrypt, Decrypt)."""

MAX_DEPTH = 32
"""How deep a header's JSON may nest (docs/format.md, H11)."""


def encode_context(context: Mapping[str, str] | None) -> str | None:
    """The one JSON text for ``context``: sorted keys, no spaces, non-ASCII escaped. ``None`` for no context.

    Raises ``TypeError`` if it is not a mapping from str to str, ``ValueError`` over 1 024 characters.
    """
    if context is None:
        return None
    if type(context) is not dict and not isinstance(context, Mapping):  # the first is much faster
        raise TypeError(f"context must be a mapping of str to str, not {type(context).__name__}")
    try:
        return _encode_items(tuple(context.items()))
    except TypeError:
        # Either a wrong type or one that cannot be hashed, so that the memo refused it.
        raise TypeError("context must map str to str: convert numbers and other values first") from None


@lru_cache(maxsize=1024)
def _encode_items(items: tuple[tuple[str, str], ...]) -> str | None:
    for key, value in items:
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError("context maps other things than str to str")
        if _has_surrogate(key + value):
            raise ValueError("context holds half of a surrogate pair, which is not text")
    if not items:
        return None
    text = json.dumps(dict(items), sort_keys=True, separators=(",", ":"))
    if len(text) > MAX_CONTEXT_CHARS:
        raise ValueError(f"context is {len(text)} characters as JSON; the KMS allows {MAX_CONTEXT_CHARS}")
    return text


def decode_context(text: str) -> dict[str, str]:
    """The pairs in a header's context string. Raises ``ValueError`` if it is not one object of strings."""
    if len(text) > MAX_CONTEXT_CHARS:
        raise ValueError(f"context is longer than {MAX_CONTEXT_CHARS} characters")
    pairs = strict_json(text)
    if not isinstance(pairs, dict):
        raise ValueError("context is not a JSON object")
    for key, value in pairs.items():
        if not isinstance(value, str) or _has_surrogate(key + value):
            raise ValueError("context is not a JSON object of strings")
    return pairs


def strict_json(text: str) -> object:
    """Parse JSON as RFC 8259 has it: no duplicate names, no NaN, at most 32 deep. Raises ``ValueError``.

    Numbers have no meaning in a header: one of any length is a float here.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=float)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    _refuse_depth(value)
    return value


def _refuse_depth(value: object) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for outer in level for item in _items(outer)]
        if not level:
            return
    if any(isinstance(item, dict | list) for item in level):
        raise ValueError("JSON is nested too deeply")


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("JSON object with a duplicate name")
    return members


def _refuse_constant(name: str) -> object:
    raise ValueError(f"JSON does not have {name}")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)
