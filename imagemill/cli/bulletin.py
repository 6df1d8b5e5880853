"""What goes on in a mill with any number of batches, in few lines: what comes, what ends, how far it all is."""

from __future__ import annotations

import time
from collections.abc import Callable

from imagemill.cli.progress import counts_text, done, duration_text, readable
from imagemill.client import state_word
from imagemill.v1.batch_pb2 import Batch

LINE_EVERY_S = 10.0
LONGEST_NAME = 40

RECEIVING = (Batch.STATE_UNSPECIFIED, Batch.STATE_RECEIVING)
FINAL = (Batch.STATE_COMPLETED, Batch.STATE_CANCELLED)


class Bulletin:
    """Tells of batches as they are heard of."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._working: dict[str, Batch] = {}
        self._told = ""
        self._next_line_at = time.monotonic() + LINE_EVERY_S

    @property
    def unfinished(self) -> int:
        """How many batches are known that have not ended."""
        return len(self._working)

    def hear(self, batch: Batch, *, is_old: bool = False) -> None:
        """Take in how a batch stands, an old one if it was there before this process; its end is told by `ended`."""
        if batch.state in FINAL or batch.state in RECEIVING:
            return
        before = self._working.get(batch.name)
        self._working[batch.name] = batch
        if before is None:
            self._say(f"{called(batch)}: {_greeting(batch, is_old=is_old)}")
        elif before.state != batch.state:
            self._say(f"{called(batch)}: {_CHANGES.get(batch.state, state_word(batch))}")
        self._tell_progress()

    def ended(self, batch: Batch, where: str = "") -> None:
        """Tell the end of a batch, and where its results are."""
        self._working.pop(batch.name, None)
        word = "cancelled" if batch.state == Batch.STATE_CANCELLED else "done"
        self._say(f"{called(batch)}: {word}, {counts_text(batch.progress)}{where}")

    def trouble(self, batch: Batch, what: str) -> None:
        """Tell what stands in the way of a batch's results."""
        self._say(f"{called(batch)}: {what}")

    def _tell_progress(self) -> None:
        if time.monotonic() < self._next_line_at:
            return
        self._next_line_at = time.monotonic() + LINE_EVERY_S
        line = progress_of(list(self._working.values()))
        if line != self._told:
            self._told = line
            self._say(line)


_CHANGES = {
    Batch.STATE_ACTIVE: "goes on",
    Batch.STATE_PAUSED: "is paused",
    Batch.STATE_CANCELLING: "is being cancelled",
}


def called(batch: Batch) -> str:
    """Name a batch by its id and, if it has one, its name for people."""
    batch_id, name = batch.name.removeprefix("batches/"), readable(batch.display_name, LONGEST_NAME)
    return f"{batch_id} ({name})" if name else batch_id


def _greeting(batch: Batch, *, is_old: bool) -> str:
    total, finished = batch.progress.total, done(batch.progress)
    if is_old:
        return f"goes on, {finished:,} of {total:,} done before{_unless_active(batch)}"
    items = f"{total:,} item" if total == 1 else f"{total:,} items"
    return f"taken in, {items}{f', {finished:,} done' if finished else ''}{_unless_active(batch)}"


def _unless_active(batch: Batch) -> str:
    return "" if batch.state == Batch.STATE_ACTIVE else f", {state_word(batch)}"


def progress_of(batches: list[Batch]) -> str:
    """Say in one line how far some batches have come together."""
    counts = [batch.progress for batch in batches]
    finished, total = sum(map(done, counts)), sum(each.total for each in counts)
    parts = [f"{finished:,} of {total:,} done ({finished * 100 // max(total, 1)} %)"]
    if len(batches) > 1:
        parts.insert(0, f"{len(batches):,} batches")
    if rate := sum(each.items_per_second for each in counts):
        parts += [f"{rate:,.1f}/s", f"about {duration_text((total - finished) / rate)} left"]
    if failed := sum(each.failed for each in counts):
        parts.append(f"{failed:,} failed")
    return " · ".join(parts)
