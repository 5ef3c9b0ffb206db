"""Checks of request fields: the few types that the API's fields have, and one function that applies them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from . import errors as e
from .errors import EngineError


class Field(Protocol):
    """One field of a request: ``check`` returns the value for the handler or raises ``EngineError``."""

    @property
    def required(self) -> bool: ...

    @property
    def default(self) -> Any: ...

    def check(self, name: str, value: object) -> Any: ...


@dataclass(frozen=True)
class Text:
    """A string. ``code`` answers a value that breaks a limit; an optional empty string counts as absent."""

    required: bool = False
    default: str | None = None
    max_chars: int | None = None
    max_bytes: int | None = None
    pattern: str | None = None
    choices: tuple[str, ...] | None = None
    code: str = e.INVALID_PARAMETER
    keep_empty: bool = False

    def check(self, name: str, value: object) -> str | None:
        if not isinstance(value, str):
            raise EngineError(e.INVALID_PARAMETER, f"{name} must be a string")
        if not value and not self.required and not self.keep_empty:
            return self.default
        if self.max_chars is not None and len(value) > self.max_chars:
            raise EngineError(self.code, f"{name} is longer than {self.max_chars} characters")
        if self.max_bytes is not None and len(value.encode("utf-8", "surrogatepass")) > self.max_bytes:
            raise EngineError(self.code, f"{name} is longer than {self.max_bytes} bytes")
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise EngineError(self.code, f"{name} does not have the form {self.pattern}")
        if self.choices is not None and value not in self.choices:
            raise EngineError(self.code, f"{name} must be one of: {', '.join(self.choices) or 'nothing'}")
        return value


@dataclass(frozen=True)
class Uint:
    """A whole number from ``low`` to ``high``. Decimal strings pass too, as in some documented examples."""

    required: bool = False
    default: int | None = None
    low: int = 0
    high: int = 2**64 - 1
    code: str = e.INVALID_PARAMETER

    def check(self, name: str, value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise EngineError(e.INVALID_PARAMETER, f"{name} must be an unsigned integer")
        if not self.low <= value <= self.high:
            raise EngineError(self.code, f"{name} must be from {self.low} to {self.high}")
        return value


@dataclass(frozen=True)
class Base64:
    """Base64 text; the handler gets the bytes."""

    required: bool = True
    default: None = None
    max_bytes: int | None = None
    code: str = e.INVALID_PARAMETER

    def check(self, name: str, value: object) -> bytes:
        if not isinstance(value, str):
            raise EngineError(e.INVALID_PARAMETER, f"{name} must be a string")
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise EngineError(self.code, f"{name} is not Base64") from None
        if self.max_bytes is not None and len(data) > self.max_bytes:
            raise EngineError(self.code, f"{name} holds more than {self.max_bytes} bytes")
        return data


@dataclass(frozen=True)
class Struct:
    """A nested object with fields of its own."""

    fields: Mapping[str, Field]
    required: bool = False
    default: None = None

    def check(self, name: str, value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise EngineError(e.INVALID_PARAMETER, f"{name} must be an object")
        return check_fields(self.fields, value, prefix=f"{name}.")


@dataclass(frozen=True)
class ListOf:
    """An array. ``duplicate`` is the code for an item (or its member ``identity``) that occurs twice."""

    item: Field
    required: bool = False
    default: None = None
    max_items: int = 100
    duplicate: str | None = None
    identity: str | None = None

    def check(self, name: str, value: object) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise EngineError(e.INVALID_PARAMETER, f"{name} must be an array")
        if self.required and not value:
            raise EngineError(e.INVALID_PARAMETER, f"{name} must not be empty")
        if len(value) > self.max_items:
            raise EngineError(e.INVALID_PARAMETER, f"{name} has more than {self.max_items} items")
        items = [self.item.check(f"{name}.{index}", each) for index, each in enumerate(value)]
        if self.duplicate is not None:
            marks = [each[self.identity] if self.identity else each for each in items]
            if len(set(marks)) != len(marks):
                raise EngineError(self.duplicate, f"{name} has the same item twice")
        return items


def check_fields(
    fields: Mapping[str, Field], params: Mapping[str, object], prefix: str = ""
) -> dict[str, Any]:
    """``params`` checked against ``fields``: a value or the default for every field.

    Raises ``EngineError``: UnknownParameter, then MissingParameter, then what the field itself says. ``None``
    counts as absent, as the SDK leaves such fields out.
    """
    given = {name: value for name, value in params.items() if value is not None}
    for name in given:
        if name not in fields:
            raise EngineError(e.UNKNOWN_PARAMETER, f"the parameter {prefix}{name} is not known")
    for name, spec in fields.items():
        if spec.required and name not in given:
            raise EngineError(e.MISSING_PARAMETER, f"the parameter {prefix}{name} is missing")
    checked: dict[str, Any] = {}
    for name, spec in fields.items():
        if name in given:
            checked[name] = spec.check(prefix + name, given[name])
        else:
            checked[name] = spec.default
    return checked
