"""One reader of a batch for everybody who watches it here: what they have in common is read once.

Whoever is slow keeps nothing waiting and piles nothing up: it takes the latest round when it comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from imagemill import codec
from imagemill.domain.batches import Batch
from imagemill.domain.items import State
from imagemill.ports.changes import Changes, Subscription
from imagemill.ports.records import View
from imagemill.runtime.calls import not_found
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch as BatchMessage
from storage_svc.pages import fitting

PAGE = 500
"""Items in one message, at most."""
STRETCH = 20_000
"""Revisions that are looked through for the items of one message: where a view's items are rare, what lies between them
must not keep the next message waiting."""
LEAST_PAGE = 20
"""Items in one message, at most, however many watch."""
ITEMS_IN_HAND = 10_000
"""Items in the messages that all who watch a batch have in hand together: each may stop reading at any moment, and what
it was being sent then stays in memory."""
PAGES_KEPT = 16
"""Messages of the latest round that are kept for the next who asks for the same."""
PACE_S = 0.2
"""The least time between two rounds of messages, in seconds: changes in between travel together."""
PACE_PER_WATCHER_S = 0.001
"""What each watcher adds to it where that makes more, in seconds: telling them all leaves time for other work."""
POLL_S = 1.0
"""How often a reader looks by itself, in seconds, should a hint be lost."""

_STATES: Mapping[api.WatchView.ValueType, tuple[State, ...] | None] = {
    api.WATCH_VIEW_UNSPECIFIED: None,
    api.WATCH_VIEW_PROGRESS: None,
    api.WATCH_VIEW_FAILURES: (State.FAILED,),
    api.WATCH_VIEW_ITEMS: (),
    api.WATCH_VIEW_RESULTS: tuple(state for state in State if state.is_final),
}
"""Which items a view tells of: none, those in these states, or (empty) all."""


@dataclass(frozen=True, slots=True)
class Round:
    """A batch as it was found, and the message about it."""

    batch: Batch
    message: BatchMessage


class BatchReader:
    """Looks at one batch when it changes, for as long as it is watched."""

    def __init__(
        self, batch_id: str, view: View, changes: Changes, rate: Callable[[Batch], float], clock: Callable[[], float]
    ) -> None:
        self.watchers = 0
        self.failure: Exception | None = None
        """Why it has ended, if it has."""
        self._batch_id = batch_id
        self._view = view
        self._changes = changes
        self._rate = rate
        self._clock = clock
        self._at_work = ExitStack()
        self._looking = asyncio.Lock()
        self._begun = self._done = 0
        self._found: Round | Exception | None = None
        self._told: Round | None = None
        self._bell = asyncio.Event()
        self._paging = asyncio.Lock()
        self._pages: dict[tuple[object, ...], api.BatchUpdate] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch: the first who does sets it to work, and the last who has done ends that."""
        if not self.watchers:
            hints = self._at_work.enter_context(self._changes.subscribe())
            self._at_work.callback(asyncio.create_task(self._run(hints), name=f"watch of {self._batch_id}").cancel)
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1
            if not self.watchers:
                self._at_work.close()

    async def _run(self, hints: Subscription) -> None:
        while self.failure is None:
            try:
                await self._next_round(hints)
                found = await self.look()
            except Exception as error:  # told to everybody who waits, each of whom has a caller to tell
                self.failure = error
            else:
                if self._told is not None and found.batch.revision <= self._told.batch.revision:
                    continue
                self._told = found
            self._bell.set()
            self._bell = asyncio.Event()

    async def look(self) -> Round:
        """The batch as it is now; those who ask while another one reads are served by the next reading together.

        Raises `CallError` when there is no such batch, and `RecordsUnavailable`.
        """
        wanted = self._begun + 1
        async with self._looking:
            if self._done < wanted:
                self._begun += 1
                number = self._begun
                try:
                    self._found = await self._read()
                except Exception as error:  # raised below, for each who asked
                    self._found = error
                self._done = number
            if isinstance(self._found, Exception):
                raise self._found.with_traceback(None)
            assert self._found is not None
            return self._found

    async def _read(self) -> Round:
        batch = await self._view.batch(self._batch_id)
        if batch is None:
            raise not_found(f"batches/{self._batch_id}")
        if isinstance(self._found, Round) and self._found.batch.revision == batch.revision:
            return self._found
        self._pages.clear()
        return Round(batch, codec.batch_message(batch, rate=self._rate(batch)))

    async def news(self, revision: int, patience_s: float) -> Round | None:
        """The latest round above a revision, waited for; None when there was none in time.

        Raises what the reader has ended with.
        """
        try:
            async with asyncio.timeout(patience_s):
                while self._told is None or self._told.batch.revision <= revision:
                    if self.failure is not None:
                        raise self.failure.with_traceback(None)
                    await self._bell.wait()
        except TimeoutError:
            return None
        return self._told

    async def page(
        self, found: Round, after: int, view: api.WatchView.ValueType, kind: api.BatchUpdate.Kind.ValueType
    ) -> api.BatchUpdate:
        """What `read_page` reads, kept for others as long as the round is the latest."""
        key = (found.batch.revision, 0 if _STATES.get(view) is None else after, view, kind)
        if (known := self._pages.get(key)) is not None:
            return known
        async with self._paging:
            if (known := self._pages.get(key)) is not None:
                return known
            size = min(PAGE, max(ITEMS_IN_HAND // self.watchers, LEAST_PAGE))
            page = await read_page(self._view, found, after, view, kind, size)
            if found is self._found:
                self._pages[key] = page
                if len(self._pages) > PAGES_KEPT:
                    del self._pages[next(iter(self._pages))]
            return page

    async def _next_round(self, hints: Subscription) -> None:
        """Wait for a hint of the batch or for the poll, and at least for the pace; its end is told at once."""
        begun = self._clock()
        await self._hinted(hints, begun + POLL_S)
        told_s = begun + max(PACE_S, PACE_PER_WATCHER_S * self.watchers)
        if self._has_items_waiting():
            # They have their whole way before them: the end need not be looked for at each hint.
            await asyncio.sleep(told_s - self._clock())
        while self._clock() < told_s:
            batch = await self._view.batch(self._batch_id)
            if batch is None or batch.state.is_final:
                return
            await self._hinted(hints, told_s)

    def _has_items_waiting(self) -> bool:
        return self._told is not None and self._told.batch.counts[State.PENDING] > 0

    async def _hinted(self, hints: Subscription, until_s: float) -> None:
        while (left := until_s - self._clock()) > 0:
            if self._batch_id in await hints.wait(left):
                return


async def read_page(
    records: View,
    found: Round,
    after: int,
    view: api.WatchView.ValueType,
    kind: api.BatchUpdate.Kind.ValueType,
    size: int | None = None,
) -> api.BatchUpdate:
    """The next message about what changed above a revision, up to the round's own; its own says how far it goes."""
    states, size = _STATES.get(view), size or PAGE
    up_to = found.batch.revision if states is None else min(found.batch.revision, after + STRETCH)
    page = [] if states is None else await records.changed_items(found.batch.id, after, up_to, size, states)
    items = fitting(page)
    complete = len(items) == len(page) < size
    return api.BatchUpdate(
        kind=kind, batch=found.message, items=items, revision=up_to if complete else items[-1].revision
    )
