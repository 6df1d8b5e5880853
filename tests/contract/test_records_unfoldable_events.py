"""Events that can be read and not be stored: they end neither the consumer nor the events beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from imagemill import codec
from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.domain.items import State
from imagemill.ports.broker import Queue
from imagemill.ports.records import Records
from imagemill.v1 import messages_pb2
from storage_svc.events import EventConsumer
from tests.support.builders import batch_of, claim_rows, event, new_batch, new_items, put_batch


def too_large() -> messages_pb2.ItemEvent:
    """Two renders whose sizes are beyond a database's integers when added."""
    message = codec.event_message(event(0, State.SUCCEEDED))
    message.renders.add(variant="b", key="b", format="png", width=1, height=1, size_bytes=2**63 - 1)
    return message


def due_never() -> messages_pb2.ItemEvent:
    message = codec.event_message(event(0, State.PENDING))
    message.delay_s = float("nan")
    return message


def tried_too_often() -> messages_pb2.ItemEvent:
    message = codec.event_message(event(0, State.PENDING))
    message.attempt = 2**31 - 1
    return message


@pytest.mark.parametrize("make", [too_large, due_never, tried_too_often])
async def test_an_event_that_can_not_be_stored_is_set_aside_and_the_others_are_folded(
    make: Callable[[], messages_pb2.ItemEvent], records: Records
) -> None:
    broker, stop = MemoryBroker(), asyncio.Event()
    await put_batch(records, new_batch(), new_items(range(3)))
    await claim_rows(records, range(3))
    good = [codec.event_message(event(index, State.SUCCEEDED)) for index in (1, 2)]
    for message in (good[0], make(), good[1]):
        await broker.publish(Queue.EVENTS, [messages_pb2.ItemEvents(events=[message]).SerializeToString()])
    stop.set()

    await EventConsumer(broker, records, LocalChanges(), group_s=0.5, quiet_s=0.01).run(stop)

    assert (await batch_of(records)).counts[State.SUCCEEDED] == 2
    assert len(broker._dead[Queue.EVENTS].waiting) == 1
    assert not broker._lines[Queue.EVENTS].waiting
