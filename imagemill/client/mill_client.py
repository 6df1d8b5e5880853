"""The client: one method per thing that can be asked of a mill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self

import grpc.aio
from grpc.aio import AioRpcError

from imagemill.client.chunks import Items, chunked
from imagemill.client.errors import translated
from imagemill.client.recipes import recipe_message
from imagemill.client.watching import ResumingWatch
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch, Item
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub
from imagemill.v1.recipe_pb2 import Recipe

DEADLINE_S = 60.0
LONG_DEADLINE_S = 600.0
"""Seconds, for calls that go over all items of a batch."""
"""For calls that answer at once; generous, since a busy store may let one wait."""

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes; a full page of items with their facts stays far below."""

_OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_ANSWER),
    # A server that comes back is tried again soon, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class MillClient:
    """A connection to a mill at `target`, in gRPC's notation: `host:port`, `unix:/path`.

    Every method raises `MillError` when the server refuses the call or can't be reached.
    """

    def __init__(self, target: str) -> None:
        self._target = target

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        self._stub = BatchServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def submit(
        self,
        items: Items,
        *,
        recipe: Mapping[str, object] | Recipe,
        batch_id: str = "",
        request_id: str = "",
        client_id: str = "",
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        keep_originals: bool = False,
        on_sent: Callable[[int], None] | None = None,
    ) -> Batch:
        """Hand in a batch of any length and return it once every item is durable.

        Items are URLs, or `ItemSource` messages where a row or a reason to skip is known; they are read once,
        a chunk at a time. With the same `batch_id` and `request_id` the call is safe to repeat, and continues
        a batch that a broken call left half received. `on_sent` hears the number of items sent so far.
        """
        batch = Batch(
            display_name=display_name,
            recipe=recipe_message(recipe),
            labels=labels or {},
            priority=priority,
            keep_originals=keep_originals,
        )
        spec = api.BatchSpec(batch_id=batch_id, request_id=request_id, client_id=client_id, batch=batch)
        call = self._stub.ImportBatch()
        try:
            await call.write(api.ImportBatchRequest(spec=spec))
            async for chunk in chunked(items):
                await call.write(api.ImportBatchRequest(chunk=chunk))
                if on_sent is not None:
                    on_sent(chunk.first_index + len(chunk.items))
            await call.done_writing()
        except (AioRpcError, asyncio.InvalidStateError):
            # The server ended the call before everything was written: its answer says why.
            pass
        except BaseException:
            call.cancel()
            raise
        with translated():
            response: api.ImportBatchResponse = await call
        return response.batch

    async def get(self, name: str) -> Batch:
        """Return one batch, by its name `batches/{batch}`."""
        with translated():
            return (await self._stub.GetBatch(api.GetBatchRequest(name=name), timeout=DEADLINE_S)).batch

    async def list_batches(self, *, client_id: str = "", page_size: int = 100) -> AsyncGenerator[Batch, None]:
        """Yield batches, newest first; only those of one client when `client_id` is given."""
        request = api.ListBatchesRequest(page_size=page_size, client_id=client_id)
        while True:
            with translated():
                page = await self._stub.ListBatches(request, timeout=DEADLINE_S)
            for batch in page.batches:
                yield batch
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def items(
        self,
        name: str,
        *,
        states: Iterable[Item.State.ValueType] = (),
        error_codes: Iterable[str] = (),
        page_size: int = 1000,
    ) -> AsyncGenerator[Item, None]:
        """Yield the items of a batch in input order, a page in memory at a time."""
        pages = self.item_pages(name, states=states, error_codes=error_codes, page_size=page_size)
        async with aclosing(pages):
            async for page in pages:
                for item in page:
                    yield item

    async def item_pages(
        self,
        name: str,
        *,
        states: Iterable[Item.State.ValueType] = (),
        error_codes: Iterable[str] = (),
        page_size: int = 1000,
    ) -> AsyncGenerator[list[Item], None]:
        """Yield what `items` does in pages, for work that is cheaper on many items at once."""
        request = api.ListItemsRequest(parent=name, page_size=page_size, states=states, error_codes=error_codes)
        while True:
            with translated():
                page = await self._stub.ListItems(request, timeout=DEADLINE_S)
            yield list(page.items)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def watch(
        self,
        name: str,
        *,
        after_revision: int = 0,
        view: api.WatchView.ValueType = api.WATCH_VIEW_PROGRESS,
        give_up_after_s: float = 60.0,
    ) -> AsyncGenerator[api.BatchUpdate, None]:
        """Follow a batch until its end: a snapshot, then every change, heartbeats in between.

        A lost connection is made again and goes on where it broke off, so nothing is missed; after
        `give_up_after_s` seconds without a word of the server the last error is raised. The `revision` of an
        update, given as `after_revision`, continues a watch in another process.
        """
        request = api.WatchBatchRequest(name=name, after_revision=after_revision, view=view)
        watch = ResumingWatch(self._stub.WatchBatch, request, give_up_after_s)
        async with aclosing(watch.updates()) as updates:
            async for update in updates:
                yield update

    async def pause(self, name: str) -> Batch:
        """Take up no more items of a batch; what is in flight ends."""
        with translated():
            return (await self._stub.PauseBatch(api.PauseBatchRequest(name=name), timeout=DEADLINE_S)).batch

    async def resume(self, name: str) -> Batch:
        """Take up the items of a paused batch again."""
        with translated():
            return (await self._stub.ResumeBatch(api.ResumeBatchRequest(name=name), timeout=DEADLINE_S)).batch

    async def cancel(self, name: str) -> Batch:
        """Give a batch up: its items that are not final become cancelled."""
        with translated():
            return (await self._stub.CancelBatch(api.CancelBatchRequest(name=name), timeout=DEADLINE_S)).batch

    async def retry_failed(self, name: str, error_codes: Iterable[str] = ()) -> api.RetryFailedItemsResponse:
        """Give failed items another attempt, of some codes or of all; the batch, and how many they are."""
        request = api.RetryFailedItemsRequest(name=name, error_codes=error_codes)
        with translated():
            return await self._stub.RetryFailedItems(request, timeout=LONG_DEADLINE_S)

    async def report(self, name: str) -> api.BatchReport:
        """Return what became of a batch in figures; may be asked for at any time."""
        with translated():
            request = api.GetBatchReportRequest(name=name)
            return (await self._stub.GetBatchReport(request, timeout=LONG_DEADLINE_S)).report
