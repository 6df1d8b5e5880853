"""A store of one batch that can be watched, as the gateway sees it: it counts who asks, and may break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc

from imagemill.v1 import batch_pb2
from imagemill.v1 import batch_service_pb2 as api
from tests.unit.gateway.storing import away

PAGE = 3
"""Items in one message."""


class WatchedStore:
    """Items change one by one; each change is a revision."""

    def __init__(self, items: int) -> None:
        self.revisions = {index: index + 1 for index in range(items)}
        self.states = dict.fromkeys(range(items), batch_pb2.Item.STATE_PENDING)
        self.revision = items
        self.state = batch_pb2.Batch.STATE_ACTIVE
        self.open: set[WatchCall] = set()
        self.asked = 0
        self.changed = asyncio.Event()
        self.answering = asyncio.Event()
        self.answering.set()

    @property
    def stub(self) -> Any:
        """The store as the gateway sees it; the stubs' own type can't be implemented."""
        return cast("Any", self)

    def WatchBatch(self, request: api.WatchBatchRequest) -> WatchCall:
        self.asked += 1
        return WatchCall(self, request)

    def move(self, index: int, state: batch_pb2.Item.State.ValueType = batch_pb2.Item.STATE_SUCCEEDED) -> None:
        """Change an item."""
        self.revision += 1
        self.revisions[index], self.states[index] = self.revision, state
        self._announce()

    def finish(self) -> None:
        """End the batch."""
        self.revision += 1
        self.state = batch_pb2.Batch.STATE_COMPLETED
        self._announce()

    def _announce(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def break_calls(self) -> None:
        """Let every open call fail, as when a store restarts."""
        for call in self.open:
            call.broken.set()
        self._announce()

    def pages(self, request: api.WatchBatchRequest, after: int) -> list[api.BatchUpdate]:
        """What changed after a revision, in messages."""
        found = sorted((revision, index) for index, revision in self.revisions.items() if revision > after)
        batch = batch_pb2.Batch(name=request.name, state=self.state, revision=self.revision)
        if request.view == api.WATCH_VIEW_PROGRESS:
            found = []
        pages = []
        for start in range(0, len(found) or 1, PAGE):
            part = found[start : start + PAGE]
            items = [batch_pb2.Item(index=index, state=self.states[index], revision=rev) for rev, index in part]
            is_last = start + PAGE >= len(found)
            revision = self.revision if is_last else part[-1][0]
            pages.append(api.BatchUpdate(batch=batch, items=items, revision=revision))
        return pages


class WatchCall:
    """One call to the store."""

    def __init__(self, store: WatchedStore, request: api.WatchBatchRequest) -> None:
        self._store = store
        self._request = request
        self.broken = asyncio.Event()
        store.open.add(self)

    def cancel(self) -> None:
        self._store.open.discard(self)

    async def __aiter__(self) -> AsyncIterator[api.WatchBatchResponse]:
        if self._request.name != "batches/b":
            raise away()
        store, cursor, kind = self._store, self._request.after_revision, api.BatchUpdate.KIND_SNAPSHOT
        await store.answering.wait()
        while True:
            found = store.state
            for page in store.pages(self._request, cursor):
                await asyncio.sleep(0)
                if self.broken.is_set():
                    raise away()
                page.kind, cursor = kind, page.revision
                yield api.WatchBatchResponse(update=page)
            if found == batch_pb2.Batch.STATE_COMPLETED:
                end = api.BatchUpdate(kind=api.BatchUpdate.KIND_END, revision=store.revision)
                yield api.WatchBatchResponse(update=end)
                return
            kind = api.BatchUpdate.KIND_CHANGE
            while store.revision <= cursor and not self.broken.is_set():
                await store.changed.wait()


def is_away(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call failed as those of this store do."""
    return error.code() is grpc.StatusCode.UNAVAILABLE
