"""A progress bar on a terminal, with rate and time left; nothing where nobody watches."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from .text import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

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
        self._begin = self._drawn = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._wanted = not quiet and sys.stderr is not None and sys.stderr.isatty()

    def __call__(self, done: int, total: int | None) -> None:
        if not self._wanted:
            return
        now = time.monotonic()
        if self._bar is None:
            if now - self._begin >= SHOW_AFTER:
                self._show()
        elif self._task is not None and now - self._drawn >= _STEP:
            self._drawn = now
            self._bar.update(self._task, completed=done, total=self._total if total is None else total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.table import Column

        self._bar = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
            BarColumn(bar_width=24),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True, markup=False, highlight=False),
            transient=True,
        )
        self._task = self._bar.add_task(self._label, total=self._total)
        self._bar.start()
