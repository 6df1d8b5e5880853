"""What is known of a running batch, as the displays show it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from imagemill.v1.batch_pb2 import Batch, Item, Progress
from imagemill.v1.batch_service_pb2 import BatchUpdate

FAILURES_SHOWN = 5


@dataclass(slots=True)
class RunProgress:
    """The batch as last heard of, and its latest failures."""

    expected: int
    """Lines in the list: the total before the batch is received."""
    sent: int = 0
    batch: Batch = field(default_factory=Batch)
    failures: deque[Item] = field(default_factory=lambda: deque(maxlen=FAILURES_SHOWN))

    def hear(self, update: BatchUpdate) -> None:
        """Take in an update of the watch."""
        if update.HasField("batch"):
            self.batch = update.batch
        self.failures.extend(item for item in update.items if item.state == Item.STATE_FAILED)

    @property
    def counts(self) -> Progress:
        """The batch's own counts."""
        return self.batch.progress

    @property
    def total(self) -> int:
        """All items, as far as they are known."""
        return self.counts.total or self.expected

    @property
    def done(self) -> int:
        """Items that are final."""
        return done(self.counts)

    @property
    def working(self) -> int:
        """Items that are somewhere between being handed out and being final."""
        return self.counts.queued + self.counts.downloading + self.counts.downloaded + self.counts.processing

    @property
    def eta_s(self) -> float | None:
        """Seconds that the rest will take, one at least; None while that cannot be told."""
        return max(self.counts.eta.ToTimedelta().total_seconds(), 1.0) if self.counts.HasField("eta") else None


def done(counts: Progress) -> int:
    """Return how many items are final."""
    return counts.succeeded + counts.failed + counts.skipped + counts.cancelled


def counts_text(counts: Progress) -> str:
    """Say how the items of a batch stand: `60 items: 53 succeeded, 7 failed`."""
    working = counts.queued + counts.downloading + counts.downloaded + counts.processing
    parts = [f"{counts.succeeded:,} succeeded"]
    for count, word in (
        (counts.failed, "failed"),
        (counts.skipped, "skipped"),
        (counts.cancelled, "cancelled"),
        (working, "at work"),
        (counts.pending, "waiting"),
    ):
        if count:
            parts.append(f"{count:,} {word}")
    noun = "item" if counts.total == 1 else "items"
    return f"{counts.total:,} {noun}: {', '.join(parts)}"


def local_time(moment: Timestamp) -> str:
    """Say a moment in this machine's time: `2026-05-04 13:05:09`."""
    return datetime.fromtimestamp(moment.ToNanoseconds() / 1e9).strftime("%Y-%m-%d %H:%M:%S")


def duration_text(seconds: float) -> str:
    """Say a duration the way people do, to two units: `47 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} days"


def readable(text: str, longest: int) -> str:
    """Shorten a foreign text to one printable line: a control character could rewrite the terminal."""
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
