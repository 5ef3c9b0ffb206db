"""Aliases: which names are allowed, and which CMK has one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_KEY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", re.ASCII)
_PAGE = 200


def is_key_id(text: str) -> bool:
    """Whether ``text`` has the form of a key id: a UUID in lower case."""
    return _KEY_ID.fullmatch(text) is not None


def check_alias(alias: str) -> str:
    """``alias`` if a key may have it. Raises ``TypeError`` and ``ValueError``. Source: CreateKey, Alias."""
    if not isinstance(alias, str):
        raise TypeError(f"alias must be str, not {type(alias).__name__}")
    if not _ALIAS.fullmatch(alias):
        raise ValueError(
            f"{alias[:80]!r} is not a name for a key: an alias has 1 to 60 letters, digits, '-' and '_', "
            "and starts with a letter or digit"
        )
    return alias


def find_alias(
    call: Callable[[str, Mapping[str, object]], dict[str, Any]], alias: str
) -> dict[str, Any] | None:
    """The ``KeyMetadata`` of the CMK with exactly this alias, ``None`` if there is none.

    The KMS searches for parts of names, and for symmetric keys only unless told otherwise: ListKeyDetail.
    """
    offset = 0
    while True:
        query = {"SearchKeyAlias": alias, "KeyUsage": "ALL", "Limit": _PAGE, "Offset": offset}
        answer = call("ListKeyDetail", query)
        page = answer.get("KeyMetadatas") or []
        for metadata in page:
            if metadata.get("Alias") == alias:
                return dict(metadata)
        offset += len(page)
        if not page or offset >= answer["TotalCount"]:
            return None
