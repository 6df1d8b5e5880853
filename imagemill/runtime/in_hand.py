"""What a stage has in hand: jobs, each with every message that it came in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from imagemill.domain.items import Facts
from imagemill.ports.broker import Delivery
from imagemill.strikes import Point, strike


class Job(Protocol):
    """What a stage works on: one item in one attempt."""

    @property
    def batch_id(self) -> str:
        """The batch's id."""

    @property
    def index(self) -> int:
        """The item's index."""

    @property
    def attempt(self) -> int:
        """The attempt, counted from 0."""

    @property
    def claim(self) -> int:
        """How often the item has been claimed in this attempt."""

    @property
    def facts(self) -> Facts:
        """What is known of the item so far; a failure's event repeats it, since final facts replace all others."""


JobT = TypeVar("JobT", bound=Job)


class Message:
    """A delivery whose jobs are not all out yet."""

    __slots__ = ("_delivery", "_left")

    def __init__(self, delivery: Delivery, jobs: int) -> None:
        self._delivery = delivery
        self._left = jobs

    @property
    def trace(self) -> str:
        """The trace context it came with."""
        return self._delivery.trace

    async def job_is_out(self) -> None:
        """Note that one of its jobs is; with the last one it is acknowledged."""
        self._left -= 1
        if self._left == 0:
            await self._delivery.ack()
            strike(Point.JOBS_ACKNOWLEDGED)


@dataclass(slots=True)
class InHand(Generic[JobT]):
    """A job that is being handled, with every message it came in."""

    job: JobT
    messages: list[Message]
    told_at: float
    """When it was taken up, or last told of."""


class Hand(Generic[JobT]):
    """All jobs that a stage has in hand."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, int], InHand[JobT]] = {}

    def take(self, job: JobT, message: Message, now: float) -> InHand[JobT] | None:
        """The job, in hand from now on; None when it is so already and has come again, as after a lost connection."""
        key = (job.batch_id, job.index)
        known = self._jobs.get(key)
        if known is not None and known.job == job:
            known.messages.append(message)
            return None
        in_hand = self._jobs[key] = InHand(job, [message], now)
        return in_hand

    async def out(self, in_hand: InHand[JobT]) -> None:
        """The job's outcome is out: every message that it came in is told."""
        key = (in_hand.job.batch_id, in_hand.job.index)
        if self._jobs.get(key) is in_hand:
            del self._jobs[key]
        for message in in_hand.messages:
            await message.job_is_out()

    def untold(self, since: float, now: float) -> Iterator[JobT]:
        """The jobs of which nothing was told since a moment; now they are."""
        for in_hand in self._jobs.values():
            if in_hand.told_at <= since:
                in_hand.told_at = now
                yield in_hand.job
