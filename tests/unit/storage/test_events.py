"""The consumer of events: folded first, acknowledged then, whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractAsyncContextManager

import pytest

from imagemill import codec
from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.items import ItemEvent, State
from imagemill.ports.broker import Queue
from imagemill.ports.records import Records, RecordsUnavailable, Unit
from imagemill.runtime.dead_letters import DeadLetters
from imagemill.runtime.markers import Marker
from imagemill.v1 import batch_pb2, messages_pb2
from storage_svc import events
from storage_svc.claims import enter_epoch, note_marker
from storage_svc.events import EventConsumer, fold_again
from storage_svc.report import make_report
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


async def test_workers_that_never_cease_to_report_do_not_keep_it_from_stopping(
    in_flight: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LONGEST_LAST_CALL_S", 0.05)
    broker, stop = MemoryBroker(), asyncio.Event()

    async def report() -> None:
        while True:
            await broker.publish(Queue.EVENTS, [message(event(0, State.DOWNLOADING))])
            await asyncio.sleep(0)

    reporting = asyncio.create_task(report())
    consuming = asyncio.create_task(EventConsumer(broker, in_flight, LocalChanges(), group_s=0.0).run(stop))

    async def begun() -> bool:
        return (await batch_of(in_flight)).counts[State.DOWNLOADING] == 1

    try:
        await eventually(begun)
        stop.set()
        async with asyncio.timeout(10.0):
            await consuming
    finally:
        reporting.cancel()


async def test_the_first_events_a_full_group_and_the_last_outcome_of_a_batch_are_folded_at_once(
    in_flight: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "GROUP_SIZE", 3)
    broker, stop = MemoryBroker(), asyncio.Event()
    consuming = asyncio.create_task(EventConsumer(broker, in_flight, LocalChanges(), group_s=3600.0).run(stop))

    async def fold(*indexes: int) -> None:
        """Publish outcomes, and see them counted."""
        await broker.publish(Queue.EVENTS, [message(event(index, State.SUCCEEDED)) for index in indexes])

        async def counted() -> bool:
            return (await batch_of(in_flight)).counts[State.SUCCEEDED] == indexes[-1] + 1

        await eventually(counted)

    try:
        await fold(0)
        await fold(1, 2, 3)
        await fold(4)
        assert (await batch_of(in_flight)).state.is_final
    finally:
        stop.set()
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)


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
    assert not broker._dead[Queue.EVENTS].waiting


async def test_what_was_folded_is_announced_though_the_database_goes_away_before_a_marker_is_noted(
    in_flight: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RETRY_S", 0.0)
    broker, changes, away = MemoryBroker(), LocalChanges(), [RecordsUnavailable("the database is away")]

    async def note_or_be_away(records: Records, marker: Marker, lease_s: float, now: float) -> None:
        if away:
            raise away.pop()
        await note_marker(records, marker, lease_s, now)

    monkeypatch.setattr(events, "note_marker", note_or_be_away)
    bodies = [message(event(0, State.SUCCEEDED)), Marker("e", time.time()).encode()]
    await broker.publish(Queue.EVENTS, bodies)
    stop = asyncio.Event()

    with changes.subscribe() as hints:
        consuming = asyncio.create_task(EventConsumer(broker, in_flight, changes, group_s=0.5, quiet_s=0.1).run(stop))
        assert await hints.wait(5.0) == {"b"}

    stop.set()
    await consuming
    await assert_all_acknowledged(broker)


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


async def test_an_event_that_can_not_be_read_goes_to_the_dead_letters_and_the_others_are_folded(
    in_flight: SqliteRecords, caplog: pytest.LogCaptureFixture
) -> None:
    broker = MemoryBroker()
    await broker.publish(Queue.EVENTS, [b"gibberish", message(*(event(index, State.SUCCEEDED) for index in range(4)))])
    # Readable as a message, and of a meaning that this release does not know.
    unknown = messages_pb2.ItemEvent(batch_id="b", index=4, state=batch_pb2.Item.State.ValueType(99))
    await broker.publish(Queue.EVENTS, [messages_pb2.ItemEvents(events=[unknown]).SerializeToString()])
    with caplog.at_level(logging.ERROR):
        await EventConsumer(broker, in_flight, LocalChanges(), group_s=0.0).run(stopped())

    assert (await batch_of(in_flight)).counts[State.SUCCEEDED] == 4
    async with broker.consume(Queue.EVENTS, 10, dead=True) as letters:
        assert (await anext(letters)).body == b"gibberish"
        assert (await anext(letters)).body
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    await assert_all_acknowledged(broker)


async def test_a_failure_of_which_only_a_newer_version_knows_is_kept_as_it_was_told(in_flight: SqliteRecords) -> None:
    broker = MemoryBroker()
    newer = messages_pb2.ItemEvent(batch_id="b", index=4, state=batch_pb2.Item.STATE_FAILED)
    newer.failure.code, newer.failure.message = "OF_THE_FUTURE", "It is not yet known."
    await broker.publish(Queue.EVENTS, [messages_pb2.ItemEvents(events=[newer]).SerializeToString()])

    await EventConsumer(broker, in_flight, LocalChanges(), group_s=0.0).run(stopped())

    (row,) = await in_flight.items("b", 3, 1)
    item = codec.item_message(row)
    assert (item.state, item.failure.code, item.failure.message) == (
        batch_pb2.Item.STATE_FAILED, "OF_THE_FUTURE", "It is not yet known."
    )  # fmt: skip
    tally = await in_flight.tally("b")
    assert tally is not None
    report = make_report(tally, 0.0)
    assert [(each.code, each.count, each.family) for each in report.errors] == [("OF_THE_FUTURE", 1, "internal")]
    await assert_all_acknowledged(broker)


async def test_dead_events_are_folded_again_and_what_can_not_be_is_buried(in_flight: SqliteRecords) -> None:
    broker, changes = MemoryBroker(), LocalChanges()
    for body in (b"gibberish", message(*(event(index, State.SUCCEEDED) for index in range(5)))):
        await broker.publish(Queue.EVENTS, [body])
        async with broker.consume(Queue.EVENTS, 1) as deliveries:
            await (await anext(deliveries)).reject()
    with changes.subscribe() as hints:
        folding = asyncio.create_task(DeadLetters(broker, Queue.EVENTS, fold_again(in_flight, changes)).run())
        assert await hints.wait(5.0) == {"b"}
        await eventually(lambda: not broker._dead[Queue.EVENTS].waiting)
        folding.cancel()
        await asyncio.gather(folding, return_exceptions=True)

    assert (await batch_of(in_flight)).state is BatchState.COMPLETED
    assert [letter.body for letter in await broker.buried(10)] == [b"gibberish"]


@pytest.mark.parametrize(("epoch", "due"), [("e", 5), ("over", 0)])
async def test_what_a_marker_has_followed_holds_for_one_more_lease(
    in_flight: SqliteRecords, epoch: str, due: int
) -> None:
    broker, now = MemoryBroker(), time.time()
    await enter_epoch(in_flight, "e", now)
    async with in_flight.write() as unit:
        await unit.confirm("t", now)
    await broker.publish(Queue.EVENTS, [Marker(epoch, now).encode()])

    await EventConsumer(broker, in_flight, LocalChanges(), group_s=0.0, lease_s=60.0).run(stopped())

    await assert_all_acknowledged(broker)
    async with in_flight.write() as unit:
        if due:
            assert await unit.due_items("b", now + 50.0, 9, in_flight=True) == []
        await unit.extend_leases("e", now + 1000.0, now + 61.0)
        assert len(await unit.due_items("b", now + 500.0, 9, in_flight=True)) == due
