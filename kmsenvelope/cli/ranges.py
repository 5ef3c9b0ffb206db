"""``--range``: which bytes of a plaintext."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from .exits import UsageError

_SLICE = re.compile(r"(-?\d{1,18})?:(-?\d{1,18})?", re.ASCII)
_SPAN = re.compile(r"(\d{1,18})-(\d{1,18})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes from ``start`` to before ``end``, as in a slice: negative counts from the end, None is open."""

    start: int | None
    end: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """``START:END``, the end excluded, or ``START-END``, the end included as in an HTTP request."""
        if found := _SLICE.fullmatch(text):
            start, end = (None if part is None else int(part) for part in found.groups())
            return cls(start, end)
        if found := _SPAN.fullmatch(text):
            first, last = found.groups()
            if last is not None and int(last) < int(first):
                raise UsageError(f"--range {text} ends before it starts")
            return cls(int(first), None if last is None else int(last) + 1)
        raise UsageError(f"--range takes START:END (END excluded) or START-END (END included), not {text!r}")

    @property
    def needs_size(self) -> bool:
        """Whether it counts from the end."""
        return (self.start or 0) < 0 or (self.end or 0) < 0

    def resolve(self, size: int | None) -> tuple[int, int | None]:
        """The offset of the first byte and the number of bytes, ``None`` for all that follow."""
        if size is not None:
            first, last, _ = slice(self.start, self.end).indices(size)
            return first, max(0, last - first)
        first = self.start or 0
        return first, None if self.end is None else max(0, self.end - first)
