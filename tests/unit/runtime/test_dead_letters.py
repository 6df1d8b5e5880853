"""Dead letters: what can be dealt with is, once; what can't is buried; nothing stands in another's way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from imagemill.domain.items import UNDELIVERABLE, State
from imagemill.ports.broker import Queue
from imagemill.ports.unavailable import PartUnavailable
from imagemill.runtime import dead_letters
from imagemill.runtime.dead_letters import DeadLetters, resubmit
from tests.support.eventually import eventually
from tests.unit.runtime.working import KNOWN, MARKER, FlakyBroker, Workshop, decode, message


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "RETRY_S", 0.0)


async def die(broker: FlakyBroker, queue: Queue, *bodies: bytes) -> None:
    await broker.publish(queue, bodies)
    async with broker.consume(queue, len(bodies)) as deliveries:
        for _ in bodies:
            await (await anext(deliveries)).reject()


@asynccontextmanager
async def at_work(letters: DeadLetters) -> AsyncIterator[None]:
    running = asyncio.create_task(letters.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_items_of_a_dead_message_wait_to_be_claimed_again_at_no_cost_of_an_attempt() -> None:
    shop = Workshop()
    await die(shop.broker, Queue.DOWNLOAD, message("b", 3, 4))
    async with at_work(DeadLetters(shop.broker, Queue.DOWNLOAD, resubmit(shop.broker, decode))):
        events = await eventually(shop.events)

    assert [(each.index, each.state, each.outside_budget) for each in events] == [
        (3, State.PENDING, True), (4, State.PENDING, True),
    ]  # fmt: skip
    assert all(each.delay_s > 0 for each in events)
    # What the stage before knew is kept, so that a stored original need not be downloaded again.
    assert all(each.facts.failure == UNDELIVERABLE and each.facts.original == KNOWN.original for each in events)
    assert await shop.dead(Queue.DOWNLOAD) == []
    assert await shop.broker.buried(10) == []


async def test_a_letter_that_nobody_can_read_is_buried_and_told_once_and_the_next_one_is_dealt_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Workshop()
    await die(shop.broker, Queue.DOWNLOAD, b"b:gibberish", b"b:", message("b", 1))
    with caplog.at_level(logging.ERROR):
        async with at_work(DeadLetters(shop.broker, Queue.DOWNLOAD, resubmit(shop.broker, decode))):
            events = await eventually(shop.events)

    assert [each.index for each in events] == [1]
    assert [letter.body for letter in await shop.broker.buried(10)] == [b"b:gibberish", b"b:"]
    assert len(caplog.records) == 2
    assert "gibberish" not in caplog.text


async def test_while_the_broker_is_away_a_letter_waits() -> None:
    shop = Workshop()
    await die(shop.broker, Queue.DOWNLOAD, message("b", 1))
    shop.broker.away = True
    async with at_work(DeadLetters(shop.broker, Queue.DOWNLOAD, resubmit(shop.broker, decode))):
        await eventually(lambda: shop.broker.refused > 3)
        shop.broker.away = False
        events = await eventually(shop.events)

    assert [each.index for each in events] == [1]
    assert await shop.broker.buried(10) == []


async def test_a_letter_in_hand_when_its_consumer_ends_is_left_to_the_next() -> None:
    async def never(body: bytes) -> None:
        taken.set()
        raise PartUnavailable("the database is away")

    shop, taken = Workshop(), asyncio.Event()
    await die(shop.broker, Queue.EVENTS, b"event")
    async with at_work(DeadLetters(shop.broker, Queue.EVENTS, never)):
        await taken.wait()

    assert await shop.dead(Queue.EVENTS) == [b"event"]


async def test_a_marker_that_a_queue_gave_up_is_let_go() -> None:
    shop = Workshop()
    await die(shop.broker, Queue.DOWNLOAD, MARKER)
    async with at_work(DeadLetters(shop.broker, Queue.DOWNLOAD, resubmit(shop.broker, decode))):
        await eventually(lambda: not shop.broker._dead[Queue.DOWNLOAD].waiting)

    assert await shop.broker.buried(10) == []
    assert await shop.dead(Queue.DOWNLOAD) == []
