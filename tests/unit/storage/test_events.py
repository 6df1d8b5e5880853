"""The consumer of events: folded first, acknowledged then, whatever happens in between."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from imagemill import codec
from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.items import ItemEvent, State
from imagemill.ports.broker import Queue
from imagemill.ports.records import RecordsUnavailable, Unit
from imagemill.v1 import messages_pb2
from storage_svc import events
from storage_svc.events import EventConsumer
from tests.support.builders import batch_of, claim_rows, event, new_batch, new_items, put_batch
from tests.support.eventually import eventually


def message(*told: ItemEvent) -> bytes:
    return messages_pb2.ItemEvents(events=[codec.event_message(each) for each in told]).SerializeToString()


@pytest.fixture
async def in_flight(records: SqliteRecords) -> SqliteRecords:
    await put_batch(records, new_batch(), new_items(range(5)))
    await claim_rows(records, range(5))
    return records


def stopped() -> asyncio.Event:
    stop = asyncio.Event()
    stop.set()
    return stop


async def assert_all_acknowledged(broker: MemoryBroker) -> None:
    """Nothing that was published before the marker is delivered again."""
    await broker.publish(Queue.EVENTS, [b"marker"])
    async with broker.consume(Queue.EVENTS, 10) as deliveries, asyncio.timeout(5.0):
        assert (await anext(deliveries)).body == b"marker"


async def test_everything_that_had_arrived_is_folded_before_a_stop_and_announced(in_flight: SqliteRecords) -> None:
    broker, changes = MemoryBroker(), LocalChanges()
    for index in range(5):
        await broker.publish(Queue.EVENTS, [message(event(index, State.SUCCEEDED))])

    with changes.subscribe() as hints:
        await EventConsumer(broker, in_flight, changes, group_s=0.0).run(stopped())

        assert await hints.wait(0.0) == {"b"}
    assert (await batch_of(in_flight)).state is BatchState.COMPLETED
    await assert_all_acknowledged(broker)


async def test_while_the_database_is_away_the_group_waits_and_is_then_folded_once(
    in_flight: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RETRY_S", 0.0)
    broker, away = MemoryBroker(), [RecordsUnavailable("the database is away")] * 3

    write = in_flight.write

    def write_or_be_away() -> AbstractAsyncContextManager[Unit]:
        if away:
            raise away.pop()
        return write()

    monkeypatch.setattr(in_flight, "write", write_or_be_away)
    await broker.publish(Queue.EVENTS, [message(*(event(index, State.SUCCEEDED) for index in range(5)))])
    stop = asyncio.Event()
    consuming = asyncio.create_task(EventConsumer(broker, in_flight, LocalChanges(), group_s=0.0).run(stop))

    async def complete() -> bool:
        return (await batch_of(in_flight)).state is BatchState.COMPLETED

    await eventually(complete)
    stop.set()
    await consuming

    assert away == []
    await assert_all_acknowledged(broker)
    assert await broker.dead_letters(Queue.EVENTS) == []


async def test_a_consumer_that_dies_before_its_fold_leaves_the_events_to_the_next(in_flight: SqliteRecords) -> None:
    broker = MemoryBroker()
    async with in_flight.write():
        # The one writer is taken: the consumer gets no further than the fold.
        await broker.publish(Queue.EVENTS, [message(event(0, State.FAILED))])
        consuming = asyncio.create_task(
            EventConsumer(broker, in_flight, LocalChanges(), group_s=0.0).run(asyncio.Event())
        )
        await eventually(lambda: not broker._lines[Queue.EVENTS].waiting)
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)

    assert (await batch_of(in_flight)).counts[State.FAILED] == 0
    await EventConsumer(broker, in_flight, LocalChanges(), group_s=0.0).run(stopped())
    assert (await batch_of(in_flight)).counts[State.FAILED] == 1
