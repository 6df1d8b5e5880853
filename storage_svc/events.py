"""The consumer of events: groups them, folds them, and only then acknowledges."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from imagemill import codec
from imagemill.domain.items import ItemEvent
from imagemill.ports.broker import Broker, Delivery, Queue
from imagemill.ports.changes import Changes
from imagemill.ports.records import Records, RecordsUnavailable
from imagemill.v1 import messages_pb2
from storage_svc.fold import fold

log = logging.getLogger(__name__)

GROUP_SIZE = 256
PREFETCH = 64
"""Messages, each a group of a worker's already."""
LAST_CALL_S = 0.03
"""How long a consumer that is to stop listens for what is on its way already, in seconds."""
RETRY_S = 1.0
"""How long to wait for a database that is away, in seconds."""


class EventConsumer:
    """Folds what workers report."""

    def __init__(self, broker: Broker, records: Records, changes: Changes, group_s: float) -> None:
        """A group is folded when it is full, or `group_s` seconds after its first event."""
        self._broker = broker
        self._group_s = group_s
        self._records = records
        self._changes = changes

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set and everything that had arrived by then is folded."""
        async with self._broker.consume(Queue.EVENTS, PREFETCH) as deliveries:
            while group := await _gather(deliveries, stop, self._group_s):
                events = [event for _, events in group for event in events]
                while not await self._folded(events):
                    if stop.is_set():
                        # Left unacknowledged, like everything behind it: what was done is claimed and done again.
                        return
                    await _pause(RETRY_S, stop)
                for delivery, _ in group:
                    await delivery.ack()

    async def _folded(self, events: list[ItemEvent]) -> bool:
        # The group stays unacknowledged while the database is away: handing it back would count against its limit.
        try:
            self._changes.announce(await fold(self._records, events, time.time()))
        except RecordsUnavailable as error:
            log.warning("%d events wait for the database: %s.", len(events), error, extra={"action": "database_away"})
            return False
        return True


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


_Group = list[tuple[Delivery, list[ItemEvent]]]


async def _gather(deliveries: AsyncIterator[Delivery], stop: asyncio.Event, group_s: float) -> _Group:
    """Collect a group; empty when the consumer is to stop and nothing is left."""
    first = await _first(deliveries, stop)
    if first is None:
        return []
    group: _Group = [(first, _events_of(first))]
    size = len(group[0][1])
    try:
        async with asyncio.timeout(group_s):
            while size < GROUP_SIZE:
                delivery = await anext(deliveries)
                group.append((delivery, _events_of(delivery)))
                size += len(group[-1][1])
    except TimeoutError:
        pass
    return group


async def _first(deliveries: AsyncIterator[Delivery], stop: asyncio.Event) -> Delivery | None:
    coming = asyncio.ensure_future(anext(deliveries))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((coming, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            # What arrived before the stop is on the queue already; nothing more is waited for.
            await asyncio.wait((coming,), timeout=LAST_CALL_S)
        return coming.result() if coming.done() else None
    finally:
        coming.cancel()
        stopping.cancel()


def _events_of(delivery: Delivery) -> list[ItemEvent]:
    return [codec.event_value(message) for message in messages_pb2.ItemEvents.FromString(delivery.body).events]
