"""Tables and panels. Whatever is shown comes as text, never as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .text import printable

Row = tuple[str, str]
"""A name and what stands beside it; an empty name continues the row above, two empties are a gap."""

_STATES = {"Enabled": "green", "Disabled": "yellow", "PendingImport": "cyan", "PendingDelete": "red"}


def panel(title: str, rows: Iterable[Row], *, footer: str | None = None) -> None:
    """Rows of name and value in a frame, on stdout."""
    from rich.box import ROUNDED
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(printable(name), style="dim"), Text(printable(value)))
    console = _console()
    console.print(
        Panel(
            grid,
            title=Text(printable(title), style="bold"),
            title_align="left",
            subtitle=Text(footer, style="dim") if footer else None,
            subtitle_align="left",
            border_style="dim",
            box=ROUNDED,
            padding=(0, 1),
            expand=False,
        )
    )


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    state: int | None = None,
    unbroken: Sequence[str] = (),
) -> None:
    """A table on stdout; the ``state`` column is coloured by state, ``unbroken`` ones keep their width."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        shown.add_column(column, overflow="fold", no_wrap=column in unbroken)
    for row in rows:
        cells = [Text(printable(value)) for value in row]
        if state is not None:
            cells[state].stylize(_STATES.get(row[state], "dim"))
        shown.add_row(*cells)
    _console().print(shown)


def _console() -> Any:
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)
