"""The consumer of events: groups them, folds them, and only then acknowledges."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

from imagemill import codec
from imagemill.domain.items import ItemEvent
from imagemill.ports.broker import Broker, Delivery, Queue
from imagemill.ports.changes import Changes
from imagemill.ports.records import Records, RecordsUnavailable
from imagemill.runtime import metrics
from imagemill.runtime.lifecycle import pause
from imagemill.runtime.markers import marker_in
from imagemill.strikes import Point, strike
from imagemill.v1 import messages_pb2
from storage_svc.claims import note_marker
from storage_svc.fold import Leavings, fold
from storage_svc.sweep import Sweeper

log = logging.getLogger(__name__)

GROUP_SIZE = 256
PREFETCH = 64
"""Messages, each a group of a worker's already."""
RETRY_S = 1.0
"""How long to wait for a database that is away, in seconds."""
LONGEST_LAST_CALL_S = 1.0
"""How long groups are folded after a stop, in seconds: many busy workers report without a pause."""


class EventConsumer:
    """Folds what workers report."""

    def __init__(
        self,
        broker: Broker,
        records: Records,
        changes: Changes,
        group_s: float,
        quiet_s: float = math.inf,
        sweeper: Sweeper | None = None,
        *,
        last_call_s: float = 0.03,
        lease_s: float = 60.0,
    ) -> None:
        """A group is folded when it is full, `group_s` seconds after the group before it, or after `quiet_s` of
        silence; at once when it seems to hold the last outcome of a batch, since whoever waits for the batch waits for
        that.

        `sweeper` hears of what may be deleted; for `last_call_s` it listens for what is on its way when it is to stop;
        `lease_s` is how long a claim holds.
        """
        self._broker = broker
        self._quiet_s = quiet_s
        self._group_s = group_s
        self._records = records
        self._changes = changes
        self._sweeper = sweeper
        self._last_call_s = last_call_s
        self._lease_s = lease_s
        self._unfinished: Mapping[str, int] = {}
        """The items without an outcome of each batch in the last group."""

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set and what had arrived by then is folded, as much as a moment allows.

        What is left is on the queue: whoever comes next folds it.
        """
        clock = asyncio.get_running_loop().time
        next_at, last_at = clock(), math.inf
        async with self._broker.consume(Queue.EVENTS, PREFETCH) as deliveries:
            while clock() < last_at and (first := await _first(deliveries, stop, self._last_call_s)):
                if stop.is_set():
                    last_at = min(last_at, clock() + LONGEST_LAST_CALL_S)
                since = time.perf_counter()
                group = await _gather(first, deliveries, next_at, self._quiet_s, self._unfinished)
                next_at = clock() + self._group_s
                if not await self._deal_with(group, stop):
                    # Left unacknowledged, like everything behind it: what was done is claimed and done again.
                    return
                metrics.FOLD_LAG_SECONDS.observe(time.perf_counter() - since)
                metrics.FOLD_EVENTS.observe(sum(len(events or ()) for _, events in group))

    async def _deal_with(self, group: _Group, stop: asyncio.Event) -> bool:
        """Fold a group and settle its messages; False when it is to stop while the database is away."""
        try:
            while not await self._folded(group):
                if stop.is_set():
                    return False
                await pause(RETRY_S, stop)
        except Exception as error:  # one that can't be stored: the others are none the worse
            if len(group) > 1:
                return all([await self._deal_with([each], stop) for each in group])
            log.error(
                "A message of %s can't be folded; it goes to the dead letters.",
                Queue.EVENTS,
                exc_info=error,
                extra={"action": "message_rejected"},
            )
            group = [(group[0][0], None)]
        for delivery, read in group:
            await (delivery.reject() if read is None else delivery.ack())
            strike(Point.EVENTS_ACKNOWLEDGED)
        return True

    async def _folded(self, group: _Group) -> bool:
        events = [event for _, each in group for event in each or ()]
        # A message of events without any may be a marker; what came before it counts first.
        markers = [marker for delivery, each in group if each == [] and (marker := marker_in(delivery.body))]
        # The group stays unacknowledged while the database is away: handing it back would count against its limit.
        leavings = Leavings()
        try:
            changed = await fold(self._records, events, time.time(), leavings)
            strike(Point.GROUP_FOLDED)
            self._unfinished = leavings.unfinished
            # Now: folded once more, should a marker not be noted, the group would change nothing and leave nothing.
            self._tell(changed, leavings)
            for marker in markers:
                await note_marker(self._records, marker, self._lease_s, time.time())
        except RecordsUnavailable as error:
            log.warning("%d events wait for the database: %s.", len(events), error, extra={"action": "database_away"})
            return False
        return True

    def _tell(self, changed: Iterable[str], leavings: Leavings) -> None:
        self._changes.announce(changed)
        if self._sweeper is not None:
            self._sweeper.done_with(leavings.keys)
            if leavings.batch_ended:
                self._sweeper.sweeping.set()


_Group = list[tuple[Delivery, list[ItemEvent] | None]]
"""Messages with their events; None where nobody can read them."""


async def _gather(
    first: Delivery,
    deliveries: AsyncIterator[Delivery],
    end: float,
    quiet_s: float,
    unfinished: Mapping[str, int],
) -> _Group:
    """Collect what belongs in a group with its first message, until `end`: what has come by then if that is past."""
    group: _Group = [(first, _events_of(first))]
    size = len(group[0][1] or ())
    left = Counter(unfinished)
    clock = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout_at(end) as limit:
            while size < GROUP_SIZE and not _ends_a_batch(group[-1][1] or (), left):
                limit.reschedule(min(end, clock() + quiet_s))
                delivery = await anext(deliveries)
                group.append((delivery, _events_of(delivery)))
                size += len(group[-1][1] or ())
    except TimeoutError:
        pass
    return group


def _ends_a_batch(events: Iterable[ItemEvent], left: Counter[str]) -> bool:
    """Whether events bring the last outcome of a batch, of which so many are `left`; counts them."""
    outcomes = [event.batch_id for event in events if event.state.is_final]
    left.subtract(batch_id for batch_id in outcomes if batch_id in left)
    return any(left.get(batch_id, 1) <= 0 for batch_id in outcomes)


async def _first(deliveries: AsyncIterator[Delivery], stop: asyncio.Event, last_call_s: float) -> Delivery | None:
    """The next message, waited for; None when the consumer is to stop and nothing is left."""
    coming = asyncio.ensure_future(anext(deliveries))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((coming, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            # What arrived before the stop is on the queue already; nothing more is waited for.
            await asyncio.wait((coming,), timeout=last_call_s)
        return coming.result() if coming.done() else None
    finally:
        coming.cancel()
        stopping.cancel()


def _events_of(delivery: Delivery) -> list[ItemEvent] | None:
    """The events of a message; None when nobody can read it, which is told."""
    try:
        return _decoded(delivery.body)
    except Exception as error:  # whatever is in it: the events behind it are none the worse
        log.error(
            "A message of %d bytes on %s can't be read (%s); it goes to the dead letters.",
            len(delivery.body),
            Queue.EVENTS,
            type(error).__name__,
            extra={"action": "message_rejected"},
        )
        return None


def _decoded(body: bytes) -> list[ItemEvent]:
    return [codec.event_value(message) for message in messages_pb2.ItemEvents.FromString(body).events]


def fold_again(records: Records, changes: Changes) -> Callable[[bytes], Awaitable[None]]:
    """Deals with a dead message of events, by itself: folded again, what was done is not done anew."""

    async def deal(body: bytes) -> None:
        changes.announce(await fold(records, _decoded(body), time.time()))

    return deal
