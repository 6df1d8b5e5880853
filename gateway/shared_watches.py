"""Watches of one batch that share what is asked of the store: one call behind them serves all who keep up.

Each watcher first catches up by a call of its own, then follows the shared one from a revision that it knows. Whoever
falls behind what the shared one still holds, or finds it broken, catches up again; so nobody waits for a slow one,
nobody misses anything, and what one who never reads costs is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

import grpc

from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.batch_service_pb2_grpc import BatchServiceAsyncStub

    _Call = grpc.aio.UnaryStreamCall[api.WatchBatchRequest, api.WatchBatchResponse]

KEPT = 32
"""Messages that a shared watch holds for those who have not sent them yet."""

ASKING = 50
"""Calls to the store that wait for their first message at the same time: a call costs memory until it has one, and a
thousand who come together would all ask together."""
TURN_S = 1.0
"""How long others wait for one to be answered, in seconds; then the next one asks, for the store may not answer."""

PACE_PER_FOLLOWER_S = 0.001
"""What each follower adds to the time until all are told of what came, in seconds: that leaves time for other work."""

_PROGRESS = (api.WATCH_VIEW_UNSPECIFIED, api.WATCH_VIEW_PROGRESS)
"""Views of which each message tells all there is."""
_FINAL = (Batch.STATE_COMPLETED, Batch.STATE_CANCELLED)
_Key = tuple[str, api.WatchView.ValueType]


class SharedWatches:
    """Relays watches of single batches to any number of callers."""

    def __init__(self, batches: BatchServiceAsyncStub) -> None:
        self._batches = batches
        self._feeds: dict[_Key, _Feed] = {}
        self._asking = asyncio.Semaphore(ASKING)

    async def watch(self, request: api.WatchBatchRequest) -> AsyncGenerator[api.WatchBatchResponse, None]:
        """What a caller is told; raises `AioRpcError` with what the store refuses."""
        key, cursor, kind = (request.name, request.view), request.after_revision, api.BatchUpdate.KIND_SNAPSHOT
        while True:
            async with aclosing(self._catching_up(key, cursor)) as updates:
                async for response in updates:
                    update = response.update
                    if update.kind == api.BatchUpdate.KIND_SNAPSHOT:
                        update.kind = kind
                    # Less than what the caller claims to know, if there is no more.
                    cursor = update.revision
                    yield response
                    if update.kind == api.BatchUpdate.KIND_END:
                        return
            kind = api.BatchUpdate.KIND_CHANGE
            with self._feed_of(key, cursor) as feed:
                async with aclosing(feed.follow(cursor)) as shared:
                    async for response in shared:
                        cursor = max(cursor, response.update.revision)
                        yield response
                        if response.update.kind == api.BatchUpdate.KIND_END:
                            return

    async def _catching_up(self, key: _Key, cursor: int) -> AsyncGenerator[api.WatchBatchResponse, None]:
        """What a call of its own tells, until a shared one goes on from there, or the end."""
        async with aclosing(self._asked(key, cursor)) as responses:
            async for response in responses:
                yield response
                update = response.update
                feed = self._feeds.get(key)
                if _is_whole(update) and (feed is None or feed.goes_on_from(update.revision)):
                    return

    async def _asked(self, key: _Key, cursor: int) -> AsyncGenerator[api.WatchBatchResponse, None]:
        """What the store answers to a call of its own, which is made when it is its turn."""
        async with self._asking:
            call = self._call(key, cursor)
            responses = aiter(call)
            first = asyncio.ensure_future(anext(responses, None))
            try:
                await asyncio.wait([first], timeout=TURN_S)
            except BaseException:
                first.cancel()
                call.cancel()
                raise
        try:
            response = await first
            while response is not None:
                yield response
                response = await anext(responses, None)
        finally:
            call.cancel()

    @contextmanager
    def _feed_of(self, key: _Key, cursor: int) -> Iterator[_Feed]:
        """The shared watch, at work for as long as somebody follows it."""
        feed = self._feeds.get(key)
        if feed is None or feed.has_ended:
            feed = self._feeds[key] = _Feed(self._call(key, cursor), cursor, latest_only=key[1] in _PROGRESS)
        feed.followers += 1
        try:
            yield feed
        finally:
            feed.followers -= 1
            if not feed.followers:
                feed.end()
                if self._feeds.get(key) is feed:
                    del self._feeds[key]

    def _call(self, key: _Key, cursor: int) -> _Call:
        name, view = key
        return self._batches.WatchBatch(api.WatchBatchRequest(name=name, view=view, after_revision=cursor))


def _is_whole(update: api.BatchUpdate) -> bool:
    """Whether it tells the last of what there was to tell, and is not the last but one message of all."""
    is_last = update.HasField("batch") and update.revision == update.batch.revision
    return is_last and update.batch.state not in _FINAL


class _Feed:
    """One call to the store, read at its own pace, and the last messages that it has told."""

    def __init__(self, call: _Call, revision: int, *, latest_only: bool) -> None:
        self.followers = 0
        self._latest_only = latest_only
        self.has_ended = False
        self._call = call
        self._revision = revision
        """How far it has told."""
        self._kept: deque[tuple[int, api.WatchBatchResponse]] = deque(maxlen=KEPT)
        """Messages, each with the revision from which on it tells."""
        self._told = 0
        """How many there were, those included that are not kept any more."""
        self._bell = asyncio.Event()
        self._ringing: asyncio.TimerHandle | None = None
        self._reading = asyncio.create_task(self._read(), name="shared watch")

    def goes_on_from(self, revision: int) -> bool:
        """Whether who knows all up to a revision misses nothing by following from now on."""
        return self.has_ended or self._first_for(revision) is not None

    async def follow(self, revision: int) -> AsyncGenerator[api.WatchBatchResponse, None]:
        """Everything above a revision as it comes, until the end, or until this one can't tell all of it."""
        following = self._first_for(revision)
        while following is not None:
            while following < self._told:
                oldest = self._told - len(self._kept)
                if self._latest_only and self._kept[-1][1].update.kind == api.BatchUpdate.KIND_CHANGE:
                    following = self._told - 1
                elif following < oldest:
                    return
                response = self._kept[following - oldest][1]
                following += 1
                update = response.update
                if update.revision > revision or update.kind != api.BatchUpdate.KIND_CHANGE:
                    revision = max(revision, update.revision)
                    yield response
            if self.has_ended:
                return
            await self._bell.wait()

    def end(self) -> None:
        """Stop asking."""
        self.has_ended = True
        self._reading.cancel()
        self._call.cancel()

    def _first_for(self, revision: int) -> int | None:
        """The number of the first message that tells what comes after a revision; None if it is gone already."""
        if self._revision <= revision:
            return self._told
        for number, (start, response) in enumerate(self._kept, self._told - len(self._kept)):
            if start <= revision < response.update.revision:
                return number
        return None

    async def _read(self) -> None:
        try:
            async for response in self._call:
                update = response.update
                if update.kind == api.BatchUpdate.KIND_SNAPSHOT:
                    # Whoever follows has had one.
                    update.kind = api.BatchUpdate.KIND_CHANGE
                self._kept.append((self._revision, response))
                self._revision = max(self._revision, update.revision)
                self._told += 1
                if self._ringing is None:
                    # What is not read would lie between here and the store, and be old when it is.
                    pace_s = PACE_PER_FOLLOWER_S * self.followers
                    self._ringing = asyncio.get_running_loop().call_later(pace_s, self._ring)
        except grpc.aio.AioRpcError:
            pass  # each follower asks again by itself, and hears what is wrong
        finally:
            self.has_ended = True
            self._ring()

    def _ring(self) -> None:
        if self._ringing is not None:
            self._ringing.cancel()
            self._ringing = None
        self._bell.set()
        self._bell = asyncio.Event()
