"""The display on a terminal: a bar, figures, counts by state and the last failures, drawn over itself."""

from __future__ import annotations

from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from imagemill.cli.exits import ExitCode
from imagemill.cli.progress import RunProgress, duration_text, readable
from imagemill.v1.batch_pb2 import Item
from imagemill.v1.batch_service_pb2 import BatchUpdate

DRAWS_PER_SECOND = 5

LONGEST_SHOWN = 200
"""Characters of a foreign text; no terminal shows more of it."""
LEAST_FOR_MESSAGES = 72
"""Columns of a terminal below which a failure's sentence is left out."""


def can_move_cursor(stream: TextIO) -> bool:
    """Whether the terminal can be drawn over."""
    console = Console(file=stream)
    return console.is_terminal and not console.is_dumb_terminal


class LiveDisplay:
    """Draws a run several times a second, whatever the number of changes."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._live: Live | None = None

    def start(self, progress: RunProgress) -> None:
        """Begin to draw."""
        self._live = Live(
            console=self._console,
            get_renderable=lambda: drawing(progress),
            refresh_per_second=DRAWS_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def sent(self) -> None:
        """Do nothing: the next drawing shows it."""

    def updated(self, update: BatchUpdate) -> None:
        """Do nothing: the next drawing shows it."""

    def say(self, text: str) -> None:
        """Write `text` above the drawing."""
        self._console.print(Text(text), soft_wrap=True)

    def stop(self) -> None:
        """Draw the final state once more and give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def end(self, code: ExitCode, error: str | None = None) -> None:
        """Do nothing: the shell is told the code, and errors go to standard error."""


def drawing(progress: RunProgress) -> RenderableType:
    """Draw `progress`; called by the drawing thread while the run goes on."""
    if not progress.counts.total:
        return _receiving(progress)
    # A copy first: the run may add failures meanwhile.
    failures = progress.failures.copy()
    parts: list[RenderableType] = [_bar(progress), _counts(progress)]
    if failures:
        parts += [Text("last failures", style="dim"), _Failures(list(failures))]
    return Group(*parts)


def _receiving(progress: RunProgress) -> RenderableType:
    return Text(f"reading the list: {progress.sent:,} of {progress.expected:,}")


def _bar(progress: RunProgress) -> RenderableType:
    row = Table.grid(padding=(0, 2, 0, 0), expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    figures = [f"{progress.done:,}/{progress.total:,}", f"{progress.done * 100 // progress.total} %"]
    if progress.done < progress.total:
        figures.append(f"{progress.counts.items_per_second:.1f}/s")
        if progress.eta_s:
            figures.append(f"{duration_text(progress.eta_s)} left")
    row.add_row(ProgressBar(total=progress.total, completed=progress.done), "  ".join(figures))
    return row


def _counts(progress: RunProgress) -> RenderableType:
    counts = progress.counts
    entries = [
        ("waiting", counts.pending, ""),
        ("downloading", counts.queued + counts.downloading, ""),
        ("rendering", counts.downloaded + counts.processing, ""),
        ("succeeded", counts.succeeded, "green"),
        ("failed", counts.failed, "red"),
        ("skipped", counts.skipped, "yellow"),
        ("cancelled", counts.cancelled, "yellow"),
    ]
    optional = {"skipped", "cancelled"}
    return _Row(
        [
            Text(f"{name} {count:,}", style=style if count else "dim")
            for name, count, style in entries
            if count or name not in optional
        ]
    )


class _Row:
    """Texts side by side, in as many lines as it takes; none is broken."""

    def __init__(self, texts: list[Text]) -> None:
        self._texts = texts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        gap, line = Text("   "), Text()
        for text in self._texts:
            if line and line.cell_len + gap.cell_len + text.cell_len > options.max_width:
                yield line
                line = Text()
            line = Text.assemble(line, gap, text) if line else text
        yield line


class _Failures:
    """The last failures, a line each; where there is no room for a sentence, the code has to do."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with_message = options.max_width >= LEAST_FOR_MESSAGES
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        # Index and code are never shortened; source and message share what is left.
        table.add_column(style="dim", no_wrap=True, min_width=6)
        table.add_column(style="red", no_wrap=True, min_width=max(len(item.failure.code) for item in self._items))
        table.add_column(no_wrap=True, ratio=2)
        if with_message:
            table.add_column(style="dim", no_wrap=True, overflow="ellipsis", ratio=3)
        for item in self._items:
            # The drawing would take its time with a URL of a megabyte, and no terminal shows more of it.
            source = _EndOf(readable(item.source[-LONGEST_SHOWN:], LONGEST_SHOWN))
            row: list[RenderableType] = [Text(f"{item.index:06d}"), Text(item.failure.code), source]
            message = Text(readable(item.failure.message, LONGEST_SHOWN))
            table.add_row(*row, *([message] if with_message else []))
        yield table


class _EndOf:
    """A text that is cut at its front where there is no room: the end of a URL tells it from its neighbours."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        over = cell_len(self._text) > width
        yield Text(f"…{self._text[1 - width :]}" if over and width > 1 else self._text, no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, cell_len(self._text))
