"""Answers on standard output: tables for people, JSON for programs.

Here standard output is what was asked for. So a reader that goes away ends the command, other than in `run`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imagemill.cli.json_lines import json_text

WIDEST = 10_000
"""Columns of what is no terminal: nothing is shortened for a program or a file."""
LEAST_FOLDED = 16
"""Characters in which a text that is broken can still be read."""
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `style` by the cell's text, for a terminal."""

    title: str
    right: bool = False
    styles: Mapping[str, str] | None = None
    fold: bool = False
    """Whether it may be broken where the terminal is narrow."""


def print_json(record: Mapping[str, object], *, indent: int | None = None) -> None:
    """Write an object to standard output: on one line, or indented when it is the only one."""
    print_text(json_text(record, sys.stdout, indent))


def print_text(text: str) -> None:
    """Write lines to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Write a table to standard output, coloured on a terminal unless NO_COLOR is set.

    On a terminal too narrow for it, each row is a block of lines instead, so that nothing is cut off.
    """
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, width=WIDEST)
    kept = list(rows)
    fits = _least_width(columns, kept) <= console.width
    with console.capture() as drawn:
        if fits:
            console.print(_table(columns, kept))
        else:
            console.print(*(_block(columns, row) for row in kept), sep="\n\n", soft_wrap=True)
    print_text("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not column.fold,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_cell(column, cell) for column, cell in zip(columns, row, strict=True)))
    return table


def _block(columns: Sequence[Column], row: Sequence[str]) -> Text:
    """A row as lines, each with its column's title; empty cells are left out."""
    widest = max(len(column.title) for column in columns) + _GAP
    lines = [
        Text.assemble((column.title.ljust(widest), "dim"), _cell(column, cell))
        for column, cell in zip(columns, row, strict=True)
        if cell
    ]
    return Text("\n").join(lines)


def _least_width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    """The fewest columns of a terminal in which the table loses nothing and stays legible."""
    least = _GAP * (len(columns) - 1)
    for place, column in enumerate(columns):
        widest = max(cell_len(text) for text in (column.title, *(row[place] for row in rows)))
        least += min(widest, LEAST_FOLDED) if column.fold else widest
    return least


def _cell(column: Column, text: str) -> Text:
    return Text(text, style=(column.styles or {}).get(text, ""))
