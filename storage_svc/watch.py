"""Watches: what is there, then what changes, from the rows themselves.

*Items changed since revision R* is one index range, so there is no event log to grow: a watcher that is slow or was
away gets each item in its latest state, and never misses one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping

from imagemill import codec
from imagemill.domain.batches import Batch, RateMeter
from imagemill.domain.items import State
from imagemill.ports.changes import Changes, Subscription
from imagemill.ports.records import View
from imagemill.runtime.calls import not_found
from imagemill.v1 import batch_service_pb2 as api
from storage_svc.pages import fitting

PAGE = 500
"""Items in one message."""
PACE_S = 0.2
"""The least time between two rounds of messages, in seconds: changes in between travel together."""
POLL_S = 1.0
"""How often a watch looks by itself, in seconds, should a hint be lost."""
HEARTBEAT_S = 10.0
"""The longest silence, in seconds."""

_STATES: Mapping[api.WatchView.ValueType, tuple[State, ...] | None] = {
    api.WATCH_VIEW_UNSPECIFIED: None,
    api.WATCH_VIEW_PROGRESS: None,
    api.WATCH_VIEW_FAILURES: (State.FAILED,),
    api.WATCH_VIEW_ITEMS: (),
    api.WATCH_VIEW_RESULTS: tuple(state for state in State if state.is_final),
}
"""Which items a view tells of: none, those in these states, or (empty) all."""


class Watches:
    """Follows batches for any number of callers."""

    def __init__(self, view: View, changes: Changes, clock: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._changes = changes
        self._clock = clock
        self._meters: dict[str, RateMeter] = {}

    async def one(
        self, batch_id: str, after_revision: int, view: api.WatchView.ValueType
    ) -> AsyncIterator[api.BatchUpdate]:
        """Follow one batch until it is final. Raises `CallError` when there is none."""
        cursor, kind = after_revision, api.BatchUpdate.KIND_SNAPSHOT
        last_told = self._clock()
        with self._changes.subscribe() as hints:
            while True:
                batch = await self._view.batch(batch_id)
                if batch is None:
                    raise not_found(f"batches/{batch_id}")
                if batch.revision > cursor or kind == api.BatchUpdate.KIND_SNAPSHOT:
                    async for update in self._tell(batch, cursor, view, kind):
                        yield update
                    cursor, kind, last_told = batch.revision, api.BatchUpdate.KIND_CHANGE, self._clock()
                if batch.state.is_final:
                    yield self._end(batch)
                    return
                if self._clock() - last_told >= HEARTBEAT_S:
                    yield api.BatchUpdate(kind=api.BatchUpdate.KIND_HEARTBEAT, revision=cursor)
                    last_told = self._clock()
                await self._next_round(hints, batch_id)

    async def all_of(
        self, client_id: str, after_revisions: Mapping[str, int], view: api.WatchView.ValueType
    ) -> AsyncIterator[api.BatchUpdate]:
        """Follow all batches of a client, or of all clients when empty, until the caller hangs up."""
        cursors = {name.removeprefix("batches/"): revision for name, revision in after_revisions.items()}
        told: set[str] = set()
        ended: dict[str, int] = {}
        last_told = self._clock()
        with self._changes.subscribe() as hints:
            while True:
                for batch in await self._open_batches(client_id, ended):
                    kind = api.BatchUpdate.KIND_CHANGE if batch.id in told else api.BatchUpdate.KIND_SNAPSHOT
                    if batch.id not in told or batch.revision > cursors.get(batch.id, 0):
                        async for update in self._tell(batch, cursors.get(batch.id, 0), view, kind):
                            yield update
                        told.add(batch.id)
                        cursors[batch.id] = batch.revision
                        last_told = self._clock()
                    if batch.state.is_final:
                        ended[batch.id] = batch.revision
                        yield self._end(batch)
                if self._clock() - last_told >= HEARTBEAT_S:
                    yield api.BatchUpdate(kind=api.BatchUpdate.KIND_HEARTBEAT)
                    last_told = self._clock()
                await self._next_round(hints, None)

    async def _open_batches(self, client_id: str, ended: Mapping[str, int]) -> list[Batch]:
        """Batches to be told of; one that has ended is again when its failed items are tried again."""
        found: list[Batch] = []
        before: tuple[float, str] | None = None
        while page := await self._view.batches(client_id, before, PAGE):
            found += [batch for batch in page if batch.revision > ended.get(batch.id, -1)]
            before = (page[-1].created_at, page[-1].id)
        return found

    async def _tell(
        self, batch: Batch, after: int, view: api.WatchView.ValueType, kind: api.BatchUpdate.Kind.ValueType
    ) -> AsyncIterator[api.BatchUpdate]:
        """Everything between `after` and the batch's revision, in pages by revision; at least one message."""
        message = codec.batch_message(batch, rate=self._rate(batch))
        states = _STATES.get(view)
        while True:
            page = (
                [] if states is None else await self._view.changed_items(batch.id, after, batch.revision, PAGE, states)
            )
            items = fitting(page)
            complete = len(items) == len(page) < PAGE
            after = batch.revision if complete else items[-1].revision
            yield api.BatchUpdate(kind=kind, batch=message, items=items, revision=after)
            if complete:
                return

    def _end(self, batch: Batch) -> api.BatchUpdate:
        self._meters.pop(batch.id, None)
        return api.BatchUpdate(kind=api.BatchUpdate.KIND_END, batch=codec.batch_message(batch), revision=batch.revision)

    def _rate(self, batch: Batch) -> float:
        if batch.state.is_final:
            return 0.0
        meter = self._meters.setdefault(batch.id, RateMeter())
        meter.record(self._clock(), batch.counts.final)
        return meter.per_second()

    async def _next_round(self, hints: Subscription, batch_id: str | None) -> None:
        """Wait for a hint of this batch (of any, when None) or for the poll, and at least for the pace."""
        told = self._clock()
        while (left := told + POLL_S - self._clock()) > 0:
            announced = await hints.wait(left)
            if batch_id in announced or (announced and batch_id is None):
                break
        await asyncio.sleep(max(told + PACE_S - self._clock(), 0.0))
