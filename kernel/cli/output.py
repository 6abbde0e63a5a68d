"""How commands print: JSON for programs, tables for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import click


def on_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


@contextmanager
def stdout_kept_clean() -> Generator[None]:
    """Send what plugins and their child processes print to standard error: standard output is for one document."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def plain(text: str) -> str:
    """Return a text without what a terminal would obey: anybody may have worded it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def print_json(document: Any) -> None:
    """Print a document, indented on a terminal."""
    click.echo(json.dumps(document, indent=2 if on_terminal() else None, ensure_ascii=False))


def print_file(document: Any) -> None:
    """Print a document to be kept in a file, a line for each part, so that versions can be told apart."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a title: drawn on a terminal, without columns that say nothing, and aligned by blanks elsewhere.

    There every column stays, so that ``awk`` can count on them.
    """
    cells = [[("" if cell is None else plain(str(cell))) for cell in row] for row in rows]
    if not on_terminal():
        widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
        for row in [[column.upper() for column in columns], *cells]:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415  # 40 ms for all four, for terminals only
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    widths = [max((len(row[i]) for row in cells), default=0) for i in range(len(columns))]
    shown = [i for i, width in enumerate(widths) if width or not cells]
    for i in shown:
        table.add_column(columns[i], overflow="fold", no_wrap=widths[i] <= UNBROKEN)
    for row in cells:
        table.add_row(*(Text(row[i], style=STYLES.get(row[i], "")) for i in shown))
    Console().print(table)


UNBROKEN = 24
"""Characters of a cell that a terminal shows on one line, at the cost of longer ones."""
STYLES = {"healthy": "green", "serving": "green", "degraded": "yellow", "failed": "red", "quarantined": "red"}
"""How a status looks on a terminal."""


def seconds(value: float | None) -> str:
    """Write a duration with a unit that fits."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.1f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def number(value: float | None) -> str:
    """Write a figure with four digits that count."""
    return "unknown" if value is None else f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:,.4g}"
