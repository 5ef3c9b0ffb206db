"""A progress bar on a terminal, with rate and time left; nothing where nobody watches."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from .text import printable

if TYPE_CHECKING:
    from rich.progress import Progress

SHOW_AFTER = 0.5
"""Seconds of work before a bar appears: what is done sooner needs none, nor the time to load one."""

_STEP = 0.05


class Meter:
    """Called with bytes done and total (``None`` if unknown); draws on stderr if that is a terminal.

    The bar goes away when the block is left.
    """

    def __init__(self, label: str, *, quiet: bool, total: int | None = None) -> None:
        self._label = printable(label)
        self._total = total
        self._drawn = time.monotonic() + SHOW_AFTER - _STEP
        self._bar: Progress | None = None
        self._wanted = not quiet and sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if not self._wanted or now - self._drawn < _STEP:
            return
        self._drawn = now
        total = self._total if total is None else total
        if self._bar is None:
            from .bar import new_bar

            self._bar = new_bar(self._label, done, total)
        else:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()
