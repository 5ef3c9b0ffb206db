"""The progress bar itself. Imported only when one is to be seen."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from .text import size


class Amount(ProgressColumn):
    """Bytes done, of how many."""

    def render(self, task: Task) -> Text:
        """The column of one task."""
        done = size(int(task.completed))
        return Text(done if task.total is None else f"{done} of {size(int(task.total))}")


class Rate(ProgressColumn):
    """Bytes a second over the last seconds."""

    def render(self, task: Task) -> Text:
        """The column of one task."""
        return Text(f"{size(int(task.speed))}/s" if task.speed else "", style="dim", justify="right")


class Left(ProgressColumn):
    """Time left, or the time taken where the total is unknown."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """The column of one task."""
        if task.total is None:
            return Text(_clock(task.elapsed or 0), style="dim")
        left = task.time_remaining
        return Text("" if left is None else f"{_clock(left)} left", style="dim")


def new_bar(label: str, done: int, total: int | None) -> Progress:
    """A started bar on stderr with one task, which goes away when it is stopped."""
    label_column = Column(no_wrap=True, overflow="ellipsis")
    bar = Progress(
        TextColumn("{task.description}", markup=False, table_column=label_column),
        BarColumn(bar_width=24, style="bright_black", complete_style="cyan", pulse_style="cyan"),
        Amount(table_column=Column(no_wrap=True)),
        Rate(table_column=Column(no_wrap=True, min_width=10)),
        Left(table_column=Column(no_wrap=True)),
        console=Console(stderr=True, markup=False, highlight=False, emoji=False),
        transient=True,
    )
    bar.add_task(label, total=total, completed=done)
    bar.start()
    return bar


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
