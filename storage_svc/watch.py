"""Watches: what is there, then what changes, from the rows themselves.

*Items changed since revision R* is one index range, so there is no event log to grow: a watcher that is slow or was
away gets each item in its latest state, and never misses one. What watchers of one batch have in common is read once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager

from imagemill import codec
from imagemill.domain.batches import Batch, RateMeter
from imagemill.ports.changes import Changes, Subscription
from imagemill.ports.records import View
from imagemill.runtime import metrics
from imagemill.v1 import batch_service_pb2 as api
from storage_svc import batch_reader
from storage_svc.batch_reader import BatchReader, Round, read_page

HEARTBEAT_S = 10.0
"""The longest silence, in seconds."""
PACE_PER_BATCH_S = 0.01
"""What each batch that was told of adds to the time until all that have changed since are told of again, in seconds: a
hundred small ones side by side would else cost more to tell of than to do."""
LONGEST_PACE_S = 5.0
LATE_END_S = 60.0
"""How much later than a newer end a batch's own may be seen, in seconds: clocks differ, and so do transactions."""


class Watches:
    """Follows batches for any number of callers."""

    def __init__(self, view: View, changes: Changes, clock: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._changes = changes
        self._clock = clock
        self._meters: dict[str, RateMeter] = {}
        self._readers: dict[str, BatchReader] = {}

    async def one(
        self, batch_id: str, after_revision: int, view: api.WatchView.ValueType
    ) -> AsyncIterator[api.BatchUpdate]:
        """Follow one batch until it is final. Raises `CallError` when there is none."""
        with metrics.WATCHERS.held("batch"), self._reader_of(batch_id) as reader:
            found = await reader.look()
            cursor, kind = after_revision, api.BatchUpdate.KIND_SNAPSHOT
            while True:
                complete = False
                while not complete:
                    update = await reader.page(found, cursor, view, kind)
                    cursor = update.revision
                    complete = cursor == found.batch.revision
                    yield update
                if found.batch.state.is_final:
                    yield self._end(found.batch)
                    return
                while (news := await reader.news(cursor, HEARTBEAT_S)) is None:
                    yield api.BatchUpdate(kind=api.BatchUpdate.KIND_HEARTBEAT, revision=cursor)
                found, kind = news, api.BatchUpdate.KIND_CHANGE

    @contextmanager
    def _reader_of(self, batch_id: str) -> Iterator[BatchReader]:
        """The reader that serves everybody who watches this batch, at work for as long as somebody does."""
        reader = self._readers.get(batch_id)
        if reader is None or reader.failure is not None:
            reader = self._readers[batch_id] = BatchReader(batch_id, self._view, self._changes, self._rate, self._clock)
        with reader.watched():
            try:
                yield reader
            finally:
                if reader.watchers == 1 and self._readers.get(batch_id) is reader:
                    del self._readers[batch_id]

    async def all_of(
        self, client_id: str, after_revisions: Mapping[str, int], view: api.WatchView.ValueType
    ) -> AsyncIterator[api.BatchUpdate]:
        """Follow all batches of a client, or of all clients when empty, until the caller hangs up."""
        cursors = {name.removeprefix("batches/"): revision for name, revision in after_revisions.items()}
        told: set[str] = set()
        ended: dict[str, int] = {}
        last_end = 0.0
        last_told = self._clock()
        with metrics.WATCHERS.held("all"), self._changes.subscribe() as hints:
            while True:
                found = await self._batches_to_tell(client_id, last_end)
                last_end = max([last_end, *(batch.finished_at or 0.0 for batch in found)])
                changed = 0
                # One that has ended is at work again when its failed items are tried again.
                for batch in (each for each in found if each.revision > ended.get(each.id, -1)):
                    kind = api.BatchUpdate.KIND_CHANGE if batch.id in told else api.BatchUpdate.KIND_SNAPSHOT
                    if batch.id not in told or batch.revision > cursors.get(batch.id, 0):
                        async for update in self._tell(batch, cursors.get(batch.id, 0), view, kind):
                            yield update
                        told.add(batch.id)
                        cursors[batch.id] = batch.revision
                        last_told = self._clock()
                        changed += not batch.state.is_final
                    if batch.state.is_final:
                        ended[batch.id] = batch.revision
                        yield self._end(batch)
                if self._clock() - last_told >= HEARTBEAT_S:
                    yield api.BatchUpdate(kind=api.BatchUpdate.KIND_HEARTBEAT)
                    last_told = self._clock()
                await self._next_round(hints, min(PACE_PER_BATCH_S * changed, LONGEST_PACE_S))

    async def _batches_to_tell(self, client_id: str, last_end: float) -> list[Batch]:
        """All batches at first; once there was an end, those at work and those that ended around it or later."""
        if last_end:
            return await self._view.batches_at_work(client_id, last_end - LATE_END_S)
        found: list[Batch] = []
        before: tuple[float, str] | None = None
        while page := await self._view.batches(client_id, before, batch_reader.PAGE):
            found += page
            before = (page[-1].created_at, page[-1].id)
        return found

    async def _tell(
        self, batch: Batch, after: int, view: api.WatchView.ValueType, kind: api.BatchUpdate.Kind.ValueType
    ) -> AsyncIterator[api.BatchUpdate]:
        """Everything between `after` and the batch's revision, in pages by revision; at least one message."""
        found = Round(batch, codec.batch_message(batch, rate=self._rate(batch)))
        complete = False
        while not complete:
            update = await read_page(self._view, found, after, view, kind)
            after = update.revision
            complete = after == batch.revision
            yield update

    def _end(self, batch: Batch) -> api.BatchUpdate:
        self._meters.pop(batch.id, None)
        return api.BatchUpdate(kind=api.BatchUpdate.KIND_END, batch=codec.batch_message(batch), revision=batch.revision)

    def _rate(self, batch: Batch) -> float:
        if batch.state.is_final:
            return 0.0
        meter = self._meters.setdefault(batch.id, RateMeter())
        meter.record(self._clock(), batch.counts.final)
        return meter.per_second()

    async def _next_round(self, hints: Subscription, pace_s: float) -> None:
        """Wait for a hint of any batch or for the poll, and at least for the pace."""
        told = self._clock()
        while (left := told + batch_reader.POLL_S - self._clock()) > 0:
            if await hints.wait(left):
                break
        await asyncio.sleep(max(told + max(batch_reader.PACE_S, pace_s) - self._clock(), 0.0))
