"""`manifest.csv`: one row per item, in input order."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from imagemill.cli.records import TIMINGS, picture_path, state_name, undecodable_path
from imagemill.v1.batch_pb2 import Item

FIXED_COLUMNS = (
    "index",
    "source",
    "state",
    "error_code",
    "error_message",
    "http_status",
    "attempts",
    "tries",
    "sha256",
    "bytes",
    "format",
    "width",
    "height",
    "duplicate_of",
    *TIMINGS,
    "warnings",
    "undecodable",
)

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""OWASP's list of what makes a spreadsheet calculate instead of show (CSV injection)."""


class ManifestWriter:
    """Writes the manifest beside its place and moves it there when it is whole.

    A context manager: on leaving without an error the new file replaces the old one in one step, on an error
    the old one stays.
    """

    def __init__(self, path: Path, temporary: Path, variants: Sequence[str]) -> None:
        self._path = path
        self._temporary = temporary
        self._variants = tuple(variants)

    def __enter__(self) -> Self:
        self._file = self._temporary.open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow((*FIXED_COLUMNS, *variant_columns(self._variants)))
        return self

    def write(self, items: Iterable[Item]) -> None:
        """Write the rows of `items`, the next in input order."""
        self._csv.writerows(row(item, self._variants) for item in items)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
        if kind is None:
            self._temporary.replace(self._path)
        else:
            self._temporary.unlink()


def variant_columns(variants: Sequence[str]) -> list[str]:
    """Name the columns of the variants: by their own names, unless a fixed column is called so."""
    return [f"{variant}_picture" if variant in FIXED_COLUMNS else variant for variant in variants]


def row(item: Item, variants: Sequence[str]) -> list[object]:
    """Give the cells of an item; what is not known is empty."""
    original = item.original
    return [
        item.index,
        safe_cell(item.source),
        state_name(item),
        item.failure.code,
        safe_cell(item.failure.message),
        item.failure.http_status or original.http_status or "",
        item.attempts,
        original.tries or item.failure.tries or "",
        original.sha256,
        original.size_bytes or "",
        original.format,
        original.width or "",
        original.height or "",
        item.duplicate_of if item.HasField("duplicate_of") else "",
        *_timings(item),
        safe_cell("; ".join(original.warnings)),
        undecodable_path(item),
        *_pictures(item, variants),
    ]


def safe_cell(text: str) -> str:
    """Make a foreign text safe to open: no control characters, and no start that a spreadsheet takes for a formula."""
    shown = text if text.isprintable() else _legible(text)
    return f"'{shown}" if text.startswith(_FORMULA_STARTS) else shown


def _legible(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _timings(item: Item) -> list[object]:
    timings = item.timings
    return [f"{value:.1f}" if (value := getattr(timings, name)) else "" for name in TIMINGS]


def _pictures(item: Item, variants: Sequence[str]) -> list[str]:
    paths = {render.variant: picture_path(item, render) for render in item.renders}
    return [paths.get(variant, "") for variant in variants]
