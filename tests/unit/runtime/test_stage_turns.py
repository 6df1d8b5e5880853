"""A stage whose jobs wait for a turn: more are in hand than are handled, and who waits is in nobody's way."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from imagemill.domain.items import State
from imagemill.ports.broker import Queue
from imagemill.runtime.stage import Work
from tests.support.eventually import eventually
from tests.unit.runtime.working import Job, Workshop, for_ever, message


@dataclass(slots=True)
class Queuing(Workshop):
    """One slot, four jobs in hand beyond it, and a turn that each job has to be given."""

    slots: int = 1
    turns: dict[int, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    def _work(self) -> Work[Job, str]:
        return replace(Workshop._work(self), turn=self._turn, ahead=4)

    @asynccontextmanager
    async def _turn(self, job: Job) -> AsyncIterator[None]:
        await self.turns[job.index].wait()
        yield


async def test_a_later_job_may_have_its_turn_first() -> None:
    shop = Queuing()
    await shop.put(message("b", 0), message("b", 1), message("b", 2))
    async with shop.open():
        await eventually(lambda: len(shop.turns) == 3)
        shop.turns[2].set()
        await shop.until_started(2)
        assert set(shop.started) == {2}
        for turn in shop.turns.values():
            turn.set()
        await shop.until_started(0, 1)

    assert {(each.index, each.state) for each in await shop.events()} == {(n, State.SUCCEEDED) for n in range(3)}


async def test_no_more_are_in_hand_than_the_slots_and_those_ahead() -> None:
    shop = Queuing()
    await shop.put(*(message("b", number) for number in range(8)))
    async with shop.open():
        await eventually(lambda: len(shop.turns) == 5)
        shop.turns[0].set()
        await eventually(lambda: len(shop.turns) == 6)
        assert set(shop.started) == {0}


async def test_who_waits_for_a_turn_is_handed_back_at_once_when_the_stage_stops() -> None:
    shop = Queuing(handler=for_ever, grace_s=600.0)
    await shop.put(message("b", 0))
    async with shop.open():
        await eventually(lambda: len(shop.turns) == 1)

    assert shop.dropped == [0]
    assert await shop.waits(Queue.DOWNLOAD) == [message("b", 0)]
    assert await shop.events() == []


async def test_who_waits_for_a_turn_is_dropped_with_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagemill.runtime.outbox.ADVISORY_S", 0.0)
    shop = Queuing()
    await shop.put(message("b", 0))
    async with shop.open():
        await eventually(lambda: len(shop.turns) == 1)
        await shop.broker.broadcast(b"b")
        await eventually(lambda: shop.dropped == [0])

    assert await shop.waits(Queue.DOWNLOAD) == []
    assert await shop.events() == [], "it was never begun"
