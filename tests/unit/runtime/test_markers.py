"""Signs of life: markers that follow the jobs, and what a stage tells of jobs that take long."""

from __future__ import annotations

import asyncio

import pytest

from imagemill.domain.items import State
from imagemill.ports.broker import Queue
from imagemill.runtime import outbox, stage
from imagemill.runtime.stage import Outcome
from tests.support.eventually import eventually
from tests.unit.runtime.working import MARKER, Job, Workshop, for_ever, message, succeed


async def test_a_marker_goes_on_behind_everything_that_was_taken_up_before_it() -> None:
    release = asyncio.Event()

    async def wait(job: Job) -> Outcome[str]:
        await release.wait()
        return await succeed(job)

    shop = Workshop(handler=wait)
    await shop.put(message("b", 0, 1), MARKER)
    async with shop.open():
        await shop.until_started(0, 1)
        assert await shop.waits(Queue.PROCESS) == []
        release.set()
        await eventually(lambda: len(shop.broker._lines[Queue.PROCESS].waiting) == 3)

    assert await shop.waits(Queue.PROCESS) == [b"next 0", b"next 1", MARKER]


async def test_a_marker_that_waits_when_the_stage_stops_is_delivered_again() -> None:
    shop = Workshop(handler=for_ever, grace_s=0.0)
    await shop.put(message("b", 0), MARKER)
    async with shop.open():
        await shop.until_started(0)

    assert await shop.waits(Queue.DOWNLOAD) == [message("b", 0), MARKER]
    assert await shop.waits(Queue.PROCESS) == []


async def test_jobs_that_take_long_are_told_of_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "LIFE_S", 0.03)
    monkeypatch.setattr(outbox, "ADVISORY_S", 0.0)
    shop = Workshop(handler=for_ever, grace_s=0.0)
    await shop.put(message("b", 0))
    async with shop.open():
        await eventually(lambda: len(shop.broker._lines[Queue.EVENTS].waiting) >= 3)

    assert {(event.index, event.state) for event in await shop.events()} == {(0, State.DOWNLOADING)}


async def test_jobs_that_wait_for_a_slot_are_told_of_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # A marker may pass them, through another worker.
    monkeypatch.setattr(stage, "LIFE_S", 0.03)
    monkeypatch.setattr(outbox, "ADVISORY_S", 0.0)
    shop = Workshop(handler=for_ever, grace_s=0.0, slots=2)
    await shop.put(message("b", *range(10)), message("b", *range(10, 20)))
    async with shop.open():
        await shop.until_started(0, 1)
        await eventually(lambda: len(shop.broker._lines[Queue.EVENTS].waiting) >= 3)
        assert set(shop.started) == {0, 1}

    assert {event.index for event in await shop.events()} == set(range(20))
