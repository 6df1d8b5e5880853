"""How a run shows itself: a live picture on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TextIO, cast

from imagemill.cli.exits import ExitCode
from imagemill.cli.json_lines import json_text
from imagemill.cli.output import LastingStream
from imagemill.cli.progress import RunProgress, duration_text
from imagemill.cli.records import batch_record, item_record
from imagemill.v1.batch_service_pb2 import BatchUpdate

LINE_EVERY_S = 5.0


class Display(Protocol):
    """What a run tells while it goes on; `progress` has taken in everything before it is shown."""

    def start(self, progress: RunProgress) -> None:
        """Begin to show `progress`."""

    def sent(self) -> None:
        """Show how much of the list has been handed in."""

    def updated(self, update: BatchUpdate) -> None:
        """Show a change."""

    def say(self, text: str) -> None:
        """Show a note or a summary for people."""

    def stop(self) -> None:
        """Leave the terminal as it was found; may be called twice."""

    def end(self, code: ExitCode, error: str | None = None) -> None:
        """Tell how the command ends."""


class PlainDisplay:
    """A line every few seconds: for pipes, logs and terminals that can't move their cursor."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next_line_at = 0.0

    def start(self, progress: RunProgress) -> None:
        """Begin; the first line comes after the first few seconds."""
        self._progress = progress
        self._next_line_at = time.monotonic() + LINE_EVERY_S

    def sent(self) -> None:
        """Show the reading of a long list."""
        if self._due():
            self._write(f"read {self._progress.sent:,} of {self._progress.expected:,} entries")

    def updated(self, update: BatchUpdate) -> None:
        """Write a line when one is due."""
        if self._due() or update.kind == BatchUpdate.KIND_END:
            self._write(progress_line(self._progress))

    def say(self, text: str) -> None:
        """Write `text`."""
        self._write(text)

    def stop(self) -> None:
        """Do nothing: lines need no tidying."""

    def end(self, code: ExitCode, error: str | None = None) -> None:
        """Do nothing: the shell is told the code, and errors go to standard error."""

    def _due(self) -> bool:
        now = time.monotonic()
        if now < self._next_line_at:
            return False
        self._next_line_at = now + LINE_EVERY_S
        return True

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class QuietDisplay(PlainDisplay):
    """Nothing but the summary's last word in the exit code."""

    def sent(self) -> None:
        """Show nothing."""

    def updated(self, update: BatchUpdate) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""


class JsonDisplay(QuietDisplay):
    """One JSON object per line and change; the field `type` is `batch`, `item` or `end`."""

    def updated(self, update: BatchUpdate) -> None:
        """Write the items that changed, then the batch."""
        lines = [{"type": "item", **item_record(item)} for item in update.items]
        if update.HasField("batch"):
            lines.append({"type": "batch", **batch_record(update.batch)})
        self._stream.write("".join(f"{json_text(line, self._stream)}\n" for line in lines))
        self._stream.flush()

    def end(self, code: ExitCode, error: str | None = None) -> None:
        """Write how it ended, with the sentence that standard error got."""
        line: dict[str, object] = {"type": "end", "exit_code": int(code)}
        self._write(json_text(line | ({"error": error} if error else {}), self._stream))


def open_display(*, as_json: bool, quiet: bool, verbose: bool, lasting: bool = True) -> Display:
    """Choose the display: live only where somebody looks at it and no log lines run through it.

    `lasting` is whether the work goes on when standard output can't be written any more; else that is an `OSError`.
    """
    # It has all of TextIO that is used here.
    stream = cast("TextIO", LastingStream(sys.stdout)) if lasting else sys.stdout
    if as_json:
        return JsonDisplay(stream)
    if quiet:
        return QuietDisplay(stream)
    if stream.isatty() and not verbose:
        from imagemill.cli.live_display import LiveDisplay, can_move_cursor

        if can_move_cursor(stream):
            return LiveDisplay(stream)
    return PlainDisplay(stream)


@asynccontextmanager
async def kept_talking(display: Display) -> AsyncIterator[None]:
    """Let a display that writes lines do so while nothing changes, too, so that its silence has an upper bound."""

    async def remind() -> None:
        while True:
            await asyncio.sleep(LINE_EVERY_S)
            display.updated(BatchUpdate(kind=BatchUpdate.KIND_HEARTBEAT))

    reminding = asyncio.create_task(remind())
    try:
        yield
    finally:
        reminding.cancel()


def progress_line(progress: RunProgress) -> str:
    """Say in one line how far the batch has come."""
    share = f" ({progress.done * 100 // progress.total} %)" if progress.total else ""
    parts = [f"{progress.done:,} of {progress.total:,} done{share}"]
    if progress.counts.items_per_second and progress.done < progress.total:
        parts.append(f"{progress.counts.items_per_second:.1f}/s")
    if progress.eta_s and progress.done < progress.total:
        parts.append(f"about {duration_text(progress.eta_s)} left")
    for count, word in ((progress.counts.failed, "failed"), (progress.counts.skipped, "skipped")):
        if count:
            parts.append(f"{count:,} {word}")
    return " · ".join(parts)
