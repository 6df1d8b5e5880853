"""Answers on standard output: tables for people, JSON for programs.

Here standard output is what was asked for. So a reader that goes away ends the command, other than in `run`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from imagemill.cli.json_lines import json_text

WIDEST = 10_000
"""Columns of what is no terminal: nothing is shortened for a program or a file."""


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
    """Write a table to standard output, coloured on a terminal unless NO_COLOR is set."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not column.fold,
            overflow="fold" if column.fold else "ellipsis",
        )
    for row in rows:
        table.add_row(*(_cell(column, cell) for column, cell in zip(columns, row, strict=True)))
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, width=WIDEST)
    with console.capture() as drawn:
        console.print(table)
    print_text("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def _cell(column: Column, text: str) -> Text:
    return Text(text, style=(column.styles or {}).get(text, ""))
