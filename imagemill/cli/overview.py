"""All batches of a mill as they are followed: a table drawn over itself, lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Protocol

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from imagemill.cli.bulletin import FINAL, RECEIVING, Bulletin, called, progress_of
from imagemill.cli.json_lines import json_text
from imagemill.cli.listing import STATE_STYLES
from imagemill.cli.live_display import DRAWS_PER_SECOND, can_move_cursor
from imagemill.cli.printing import print_text
from imagemill.cli.progress import done, duration_text, readable
from imagemill.cli.records import batch_record
from imagemill.client import state_word
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import BatchUpdate

ROWS = 20
"""Batches drawn at most; more would leave the screen."""
ENDED_SHOWN = 5
LONGEST_NAME = 30
LEAST_FOR_BARS = 72
"""Columns of a terminal below which a line has its names and figures only."""


class Overview(Protocol):
    """What is told of all batches."""

    def start(self) -> None:
        """Begin."""

    def updated(self, update: BatchUpdate) -> None:
        """Take in a change of one batch."""

    def say(self, text: str) -> None:
        """Show a note for people."""

    def stop(self) -> None:
        """Leave the terminal as it was found; may be called twice."""


def open_overview(*, as_json: bool) -> Overview:
    """Choose how to tell: drawn only where somebody looks at it."""
    if as_json:
        return JsonOverview()
    return LiveOverview() if can_move_cursor(sys.stdout) else LineOverview()


class JsonOverview:
    """One JSON object per change, the batch's as in `watch`."""

    def start(self) -> None:
        """Do nothing."""

    def updated(self, update: BatchUpdate) -> None:
        """Write the batch; its end was told with its last change."""
        if update.kind != BatchUpdate.KIND_END:
            print_text(json_text({"type": "batch", **batch_record(update.batch)}, sys.stdout))

    def say(self, text: str) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Do nothing."""


class LineOverview:
    """Lines: what comes, changes and ends, and now and then how far it all is."""

    def __init__(self) -> None:
        self._bulletin = Bulletin(self.say)

    def start(self) -> None:
        """Do nothing: lines come with changes."""

    def updated(self, update: BatchUpdate) -> None:
        """Tell of a change."""
        if update.kind == BatchUpdate.KIND_END:
            self._bulletin.ended(update.batch)
        else:
            self._bulletin.hear(update.batch)

    def say(self, text: str) -> None:
        """Write a line with the time."""
        print_text(f"{time.strftime('%H:%M:%S')}  {text}")

    def stop(self) -> None:
        """Do nothing."""


class LiveOverview:
    """A table of the batches at work and the last that ended, drawn over itself."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, highlight=False)
        self._live: Live | None = None
        self._working: dict[str, Batch] = {}
        self._ended: deque[Batch] = deque(maxlen=ENDED_SHOWN)

    def start(self) -> None:
        """Begin to draw."""
        self._live = Live(
            console=self._console,
            get_renderable=lambda: overview(list(self._working.values()), list(self._ended)),
            refresh_per_second=DRAWS_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def updated(self, update: BatchUpdate) -> None:
        """Take in a change; the next drawing shows it."""
        batch = update.batch
        if batch.state not in FINAL:
            self._forget_end(batch.name)
            self._working[batch.name] = batch
            return
        self._working.pop(batch.name, None)
        if update.kind == BatchUpdate.KIND_END:
            self._forget_end(batch.name)
            self._ended.append(batch)

    def _forget_end(self, name: str) -> None:
        """One whose failed items are tried again ends anew."""
        for ended in [each for each in self._ended if each.name == name]:
            self._ended.remove(ended)

    def say(self, text: str) -> None:
        """Write `text` above the drawing."""
        self._console.print(Text(text), soft_wrap=True)

    def stop(self) -> None:
        """Draw once more and give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def overview(working: list[Batch], ended: list[Batch]) -> RenderableType:
    """Draw batches; called by the drawing thread while changes come in."""
    if not working and not ended:
        return Text("No batch is at work. Ctrl-C leaves.", style="dim")
    parts: list[RenderableType] = [_Rows([*ended, *working[: ROWS - len(ended)]])]
    if len(working) > 1:
        parts.append(Text(progress_of(working), style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


class _Rows:
    """A line for each batch; a narrow terminal has no room for bars and times beside the names."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrow = options.max_width < LEAST_FOR_BARS
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
        table.add_column(no_wrap=True)
        if not narrow:
            table.add_column(ratio=2, min_width=8)
        for _ in range(2 if narrow else 3):
            table.add_column(no_wrap=True, justify="right")
        for batch in self._batches:
            name, state, bar, figures, failed, left = _row(batch)
            table.add_row(*((name, state, figures, failed) if narrow else (name, state, bar, figures, failed, left)))
        yield table


def _row(batch: Batch) -> list[RenderableType]:
    counts, state = batch.progress, state_word(batch)
    finished = done(counts)
    left = (counts.total - finished) / counts.items_per_second if counts.items_per_second else 0.0
    figures = f"{finished:,}/{counts.total:,}"
    return [
        Text(readable(called(batch), 2 * LONGEST_NAME)),
        Text(state, style=STATE_STYLES.get(state, "dim" if batch.state in RECEIVING else "")),
        ProgressBar(total=max(counts.total, 1), completed=finished),
        Text(figures),
        Text(f"{counts.failed:,} failed" if counts.failed else "", style="red"),
        Text(f"{duration_text(left)} left" if left and batch.state not in FINAL else "", style="dim"),
    ]
