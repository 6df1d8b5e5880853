"""Every strike point, and where it is passed: the deaths that a mill is led through, each followed by a new start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagemill.strikes import Point


@dataclass(frozen=True)
class Strike:
    """A death at a point, at its n-th passing."""

    point: Point
    passing: int = 1

    @property
    def told(self) -> str:
        """What the process is told."""
        return f"{self.point.value}:{self.passing}"


SERVICES: Mapping[str, Sequence[Strike]] = {
    "gateway": (
        Strike(Point.INTAKE_OPENED),
        Strike(Point.INTAKE_APPENDED),
        Strike(Point.INTAKE_SEALED),
        Strike(Point.CLAIM_ANSWERED),
        Strike(Point.JOBS_PUBLISHED),
        Strike(Point.MESSAGE_CONFIRMED, 2),
        Strike(Point.CLAIM_RECORDED),
    ),
    "downloader": (
        Strike(Point.ORIGINAL_KEPT, 3),
        Strike(Point.JOB_HANDLED, 3),
        Strike(Point.NEXT_JOBS_PUBLISHED),
        Strike(Point.EVENTS_PUBLISHED),
        Strike(Point.OUTCOME_TOLD),
        Strike(Point.JOBS_ACKNOWLEDGED),
        Strike(Point.ACKS_SENT),
    ),
    "processor": (
        # First, since there are few of its kind.
        Strike(Point.UNDECODABLE_STORED),
        Strike(Point.RENDER_STORED),
        Strike(Point.RENDER_STORED, 2),
        Strike(Point.JOB_HANDLED),
        Strike(Point.GROUP_DURABLE),
        Strike(Point.EVENTS_PUBLISHED),
        Strike(Point.OUTCOME_TOLD),
        Strike(Point.JOBS_ACKNOWLEDGED),
    ),
    "storage": (
        # While the list is taken in, and when the claims for it are made.
        Strike(Point.CHUNK_COMMITTED, 1),
        Strike(Point.CHUNK_COMMITTED, 2),
        Strike(Point.CLAIM_COMMITTED),
        Strike(Point.GROUP_FOLDED),
        Strike(Point.EVENTS_ACKNOWLEDGED),
        Strike(Point.UNIT_WRITTEN, 3),
        Strike(Point.UNIT_COMMITTED, 3),
        Strike(Point.ORIGINALS_DELETED),
        # By the sweep of a batch that had ended before.
        Strike(Point.ORPHANS_DELETED),
        Strike(Point.DEAD_LETTER_SETTLED),
        Strike(Point.DEAD_LETTER_ACKNOWLEDGED),
        Strike(Point.ACKS_SENT),
    ),
}
"""For each service of a mill the deaths of its one process, while a batch is worked off."""

EMBEDDED: Sequence[Strike] = (
    Strike(Point.INTAKE_OPENED),
    Strike(Point.INTAKE_APPENDED),
    Strike(Point.INTAKE_SEALED),
    Strike(Point.CHUNK_COMMITTED, 1),
    Strike(Point.CLAIM_COMMITTED),
    Strike(Point.CLAIM_ANSWERED),
    Strike(Point.JOBS_PUBLISHED),
    Strike(Point.CLAIM_RECORDED),
    Strike(Point.ORIGINAL_KEPT, 2),
    Strike(Point.JOB_HANDLED, 3),
    Strike(Point.NEXT_JOBS_PUBLISHED),
    Strike(Point.RENDER_STORED),
    Strike(Point.UNDECODABLE_STORED),
    Strike(Point.GROUP_DURABLE),
    Strike(Point.EVENTS_PUBLISHED),
    Strike(Point.OUTCOME_TOLD),
    Strike(Point.JOBS_ACKNOWLEDGED),
    Strike(Point.MESSAGE_SETTLED),
    Strike(Point.GROUP_FOLDED),
    Strike(Point.EVENTS_ACKNOWLEDGED),
    Strike(Point.UNIT_WRITTEN, 6),
    Strike(Point.UNIT_COMMITTED, 6),
)
"""The deaths of one command and the same command again."""
