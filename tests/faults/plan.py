"""What shall happen to a mill: how many deaths of what, which other faults, in how long, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagemill.strikes import Point
from tests.faults.messages import TROUBLES

POINTS: Mapping[str, Sequence[Point]] = {
    "gateway": (Point.CLAIM_ANSWERED, Point.JOBS_PUBLISHED, Point.CLAIM_RECORDED, Point.MESSAGE_CONFIRMED),
    "downloader": (
        Point.ORIGINAL_KEPT,
        Point.JOB_HANDLED,
        Point.NEXT_JOBS_PUBLISHED,
        Point.EVENTS_PUBLISHED,
        Point.OUTCOME_TOLD,
        Point.JOBS_ACKNOWLEDGED,
        Point.MESSAGE_CONFIRMED,
        Point.ACKS_SENT,
    ),
    "processor": (
        Point.RENDER_STORED,
        Point.JOB_HANDLED,
        Point.GROUP_DURABLE,
        Point.EVENTS_PUBLISHED,
        Point.OUTCOME_TOLD,
        Point.JOBS_ACKNOWLEDGED,
        Point.ACKS_SENT,
    ),
    "storage": (
        Point.CLAIM_COMMITTED,
        Point.GROUP_FOLDED,
        Point.EVENTS_ACKNOWLEDGED,
        Point.ORIGINALS_DELETED,
        Point.UNIT_WRITTEN,
        Point.UNIT_COMMITTED,
        Point.ACKS_SENT,
    ),
}
"""Where a service may be struck in the middle of a batch, whenever that is."""
PASSINGS = (1, 2, 3)


@dataclass(frozen=True)
class Plan:
    """The faults of a run."""

    seed: int
    items: int
    seconds: float
    each_service: int
    """Deaths of each of the four services."""
    broker: int
    database: int
    others: bool
    """Whether there are faults beside deaths."""

    def chance(self, lane: str) -> random.Random:
        """The choices of one lane: they depend on nothing but the seed."""
        return random.Random(f"{self.seed} {lane}")

    @property
    def of_broker(self) -> list[str]:
        """What happens to the broker, in order."""
        return self._mixed("broker", self.broker, ["frozen for 35 s", "wiped"])

    @property
    def of_database(self) -> list[str]:
        """What happens to the database, in order."""
        return self._mixed("database", self.database, ["down for 20 s"])

    @property
    def of_messages(self) -> list[str]:
        """What happens to messages, in order."""
        return list(TROUBLES) * 4 if self.others else []

    @property
    def of_disk(self) -> list[str]:
        """What happens to the disk of the blob store, in order."""
        return ["full"] * 2 if self.others else []

    def _mixed(self, lane: str, kills: int, others: list[str]) -> list[str]:
        events = ["killed"] * kills + (others if self.others else [])
        self.chance(lane).shuffle(events)
        return events


def strike_for(service: str, chance: random.Random) -> str:
    """A point for a service's next life, or none: then it is struck at no point in particular."""
    if chance.random() < 0.4:
        return ""
    return f"{chance.choice(POINTS[service]).value}:{chance.choice(PASSINGS)}"
