"""The client: one method per thing that can be asked of a mill."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self, TypeVar

import grpc.aio

from imagemill.client.chunks import Items
from imagemill.client.errors import MillError, translated
from imagemill.client.importing import Import
from imagemill.client.names import BatchLike, ItemState, View, batch_name, item_states, view_number
from imagemill.client.patience import Patience
from imagemill.client.recipes import recipe_message
from imagemill.client.watching import Watcher
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch, Item
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub
from imagemill.v1.recipe_pb2 import Recipe

Request = TypeVar("Request")
Response = TypeVar("Response")

DEADLINE_S = 60.0
"""Seconds, for calls that answer at once; generous, since a busy store may let one wait."""
LONG_DEADLINE_S = 600.0
"""Seconds, for calls that go over all items of a batch."""
PATIENCE_S = 10.0
"""Seconds in which a mill that was stopped is up again."""
WATCH_PATIENCE_S = 60.0

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes; a full page of items with their facts stays far below."""

_OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_ANSWER),
    # A server that comes back is tried again soon, not after gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # And where it is may change: it is looked up anew as often, not after half a minute.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
)


class MillClient:
    """A connection to a mill at `target`, in gRPC's notation: `host:port`, `unix:/path`.

    Every method raises `MillError` when the mill refuses the call, and `MillUnreachable`, one of these, when it can't
    be reached. A call that finds the mill away is repeated for `patience_s` seconds, if a repeat can do no harm.
    """

    def __init__(self, target: str, *, patience_s: float = PATIENCE_S) -> None:
        self._target = target
        self._patience_s = patience_s

    @property
    def target(self) -> str:
        """Where the mill listens."""
        return self._target

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
        keep_undecodable: bool = False,
        on_sent: Callable[[int], None] | None = None,
    ) -> Batch:
        """Hand in a batch of any length and return it once every item is durable.

        Items are URLs, or `ItemSource` messages where a row or a reason to skip is known; they are read once, and at
        most 16,000 are held in memory. What a lost connection leaves in doubt is sent again by itself. With a
        `batch_id` or `request_id` of yours, the whole call is safe to repeat in another process too, and continues a
        batch that an earlier one left half received. `on_sent` hears the number of items sent so far.
        """
        batch = Batch(
            display_name=display_name,
            recipe=recipe_message(recipe),
            labels=labels or {},
            priority=priority,
            keep_originals=keep_originals,
            keep_undecodable=keep_undecodable,
        )
        request_id = request_id or uuid.uuid4().hex
        spec = api.BatchSpec(batch_id=batch_id, request_id=request_id, client_id=client_id, batch=batch)
        return await Import(self._stub, self._target, spec, self._patience_s, on_sent).send(items)

    async def get(self, batch: BatchLike) -> Batch:
        """Return a batch as it stands."""
        return (await self._ask(self._stub.GetBatch, api.GetBatchRequest(name=batch_name(batch)))).batch

    async def list_batches(self, *, client_id: str = "", page_size: int = 100) -> AsyncGenerator[Batch, None]:
        """Yield batches, newest first; only those of one client when `client_id` is given."""
        request = api.ListBatchesRequest(page_size=page_size, client_id=client_id)
        while True:
            page = await self._ask(self._stub.ListBatches, request)
            for batch in page.batches:
                yield batch
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def items(
        self,
        batch: BatchLike,
        *,
        states: Iterable[ItemState] = (),
        error_codes: Iterable[str] = (),
        link_lifetime_s: float = 0.0,
        page_size: int = 1000,
    ) -> AsyncGenerator[Item, None]:
        """Yield the items of a batch in input order, a page in memory at a time.

        Only those in one of `states` (`"failed"` or `Item.STATE_FAILED`) and with one of `error_codes`, where given.
        With `link_lifetime_s`, at most 7 days, each render's `url` gives its picture to whoever has it, for so long
        after its page was answered.
        """
        pages = self.item_pages(
            batch, states=states, error_codes=error_codes, link_lifetime_s=link_lifetime_s, page_size=page_size
        )
        async with aclosing(pages):
            async for page in pages:
                for item in page:
                    yield item

    async def item_pages(
        self,
        batch: BatchLike,
        *,
        states: Iterable[ItemState] = (),
        error_codes: Iterable[str] = (),
        link_lifetime_s: float = 0.0,
        page_size: int = 1000,
    ) -> AsyncGenerator[list[Item], None]:
        """Yield what `items` does in pages, for work that is cheaper on many items at once."""
        request = api.ListItemsRequest(
            parent=batch_name(batch), page_size=page_size, states=item_states(states), error_codes=error_codes
        )
        if link_lifetime_s:
            request.link_lifetime.FromMilliseconds(round(link_lifetime_s * 1000))
        while True:
            page = await self._ask(self._stub.ListItems, request)
            yield list(page.items)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def watch(
        self,
        batch: BatchLike,
        *,
        after_revision: int = 0,
        view: View = api.WATCH_VIEW_PROGRESS,
        give_up_after_s: float = WATCH_PATIENCE_S,
        on_away: Callable[[], None] | None = None,
    ) -> AsyncGenerator[api.BatchUpdate, None]:
        """Follow a batch until its end: a snapshot, then every change.

        A lost connection is made again and goes on where it broke off, so nothing is missed; when the mill has been
        away for `give_up_after_s` seconds the last error is raised. The `revision` of an update,
        given as `after_revision`, continues a watch in another process. `on_away` is called whenever the mill is
        found to be away.
        """
        request = api.WatchBatchRequest(name=batch_name(batch), after_revision=after_revision, view=view_number(view))
        async with aclosing(Watcher(self._stub, self._target, give_up_after_s, on_away).one(request)) as updates:
            async for update in updates:
                yield update

    async def watch_all(
        self,
        *,
        client_id: str = "",
        after_revisions: Mapping[str, int] | None = None,
        view: View = api.WATCH_VIEW_PROGRESS,
        give_up_after_s: float = WATCH_PATIENCE_S,
        on_away: Callable[[], None] | None = None,
    ) -> AsyncGenerator[api.BatchUpdate, None]:
        """Follow all batches, or those of one client, and those that are still to come; it has no end of its own.

        Each batch is told from its snapshot to its end, and again when failed items of it are tried again. What is
        known already is left out by `after_revisions`, by batch name. Reconnects and gives up as `watch` does.
        """
        request = api.WatchBatchesRequest(
            client_id=client_id, after_revisions=after_revisions or {}, view=view_number(view)
        )
        async with aclosing(Watcher(self._stub, self._target, give_up_after_s, on_away).all(request)) as updates:
            async for update in updates:
                yield update

    async def wait(self, batch: BatchLike, *, give_up_after_s: float = WATCH_PATIENCE_S) -> Batch:
        """Return the batch when all its items are final; raises as `watch` does."""
        last = Batch()
        async for update in self.watch(batch, give_up_after_s=give_up_after_s):
            last = update.batch
        return last

    async def pause(self, batch: BatchLike) -> Batch:
        """Take up no more items of a batch; what is in flight ends."""
        return (await self._ask(self._stub.PauseBatch, api.PauseBatchRequest(name=batch_name(batch)))).batch

    async def resume(self, batch: BatchLike) -> Batch:
        """Take up the items of a paused batch again."""
        return (await self._ask(self._stub.ResumeBatch, api.ResumeBatchRequest(name=batch_name(batch)))).batch

    async def cancel(self, batch: BatchLike) -> Batch:
        """Give a batch up: its items that are not final become cancelled."""
        return (await self._ask(self._stub.CancelBatch, api.CancelBatchRequest(name=batch_name(batch)))).batch

    async def retry_failed(self, batch: BatchLike, error_codes: Iterable[str] = ()) -> api.RetryFailedItemsResponse:
        """Give failed items another attempt, of some codes or of all; the batch, and how many they are.

        Not repeated when the connection breaks: what failed again meanwhile would get one attempt more.
        """
        request = api.RetryFailedItemsRequest(name=batch_name(batch), error_codes=error_codes)
        with translated(self._target):
            return await self._stub.RetryFailedItems(request, timeout=LONG_DEADLINE_S)

    async def report(self, batch: BatchLike) -> api.BatchReport:
        """Return what became of a batch in figures; may be asked for at any time."""
        request = api.GetBatchReportRequest(name=batch_name(batch))
        return (await self._ask(self._stub.GetBatchReport, request, LONG_DEADLINE_S)).report

    async def _ask(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        deadline_s: float = DEADLINE_S,
    ) -> Response:
        """Make a call that may be repeated."""
        patience = Patience(self._patience_s)
        while True:
            try:
                with translated(self._target):
                    return await method(request, timeout=deadline_s)
            except MillError as error:
                await patience.wait_after(error)
