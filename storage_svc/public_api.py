"""The reading and controlling part of BatchService, which the gateway relays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

import grpc

from imagemill import codec
from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.items import ItemRow, State
from imagemill.ports.changes import Changes
from imagemill.ports.records import Records
from imagemill.runtime.calls import CallError, Context, invalid, not_found
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_service_pb2_grpc import BatchServiceServicer
from storage_svc import control
from storage_svc.pages import fitting
from storage_svc.report import make_report
from storage_svc.watch import Watches

LARGEST_ITEM_PAGE = 5_000
LARGEST_BATCH_PAGE = 1_000
DEFAULT_PAGE = 100
LONGEST_LINK_S = 7 * 24 * 3600.0
"""In seconds; what S3 allows at most."""
INDEX_DIGITS = 18
"""Decimal digits that fit 64 bits whatever they are; no index is longer."""

Links = Callable[[Sequence[str], float], Awaitable[Sequence[str]]]
"""URLs that give the blobs of some keys, for so many seconds."""


class PublicApi(BatchServiceServicer):
    """Answers from the rows; creating batches is the gateway's part."""

    def __init__(
        self, records: Records, changes: Changes, cancelled: asyncio.Event, links: Links | None = None
    ) -> None:
        """`cancelled` is set when a batch's items are to be marked; without `links` nobody is given any."""
        self._records = records
        self._links = links
        self._cancelled = cancelled
        self._changes = changes
        self._watches = Watches(records, changes)

    async def CreateBatch(self, request: api.CreateBatchRequest, context: Context) -> api.CreateBatchResponse:
        """Refuse: batches come in through the gateway."""
        raise _NOT_HERE

    async def ImportBatch(
        self, request_iterator: AsyncIterator[api.ImportBatchRequest], context: Context
    ) -> api.ImportBatchResponse:
        """Refuse: batches come in through the gateway."""
        raise _NOT_HERE

    async def GetBatch(self, request: api.GetBatchRequest, context: Context) -> api.GetBatchResponse:
        """Return one batch."""
        return api.GetBatchResponse(batch=codec.batch_message(await self._batch(request.name)))

    async def ListBatches(self, request: api.ListBatchesRequest, context: Context) -> api.ListBatchesResponse:
        """List batches, newest first; the token is the last one's age and id."""
        size = _page_size(request.page_size, LARGEST_BATCH_PAGE)
        page = await self._records.batches(request.client_id, _batch_token(request.page_token), size)
        token = f"{page[-1].created_at!r}/{page[-1].id}" if len(page) == size else ""
        return api.ListBatchesResponse(batches=[codec.batch_message(batch) for batch in page], next_page_token=token)

    async def ListItems(self, request: api.ListItemsRequest, context: Context) -> api.ListItemsResponse:
        """List items in input order; the token is the last one's index."""
        batch = await self._batch(request.parent, field="parent")
        size = _page_size(request.page_size, LARGEST_ITEM_PAGE)
        states, codes = _states(request.states), list(request.error_codes)
        page = await self._records.items(batch.id, _item_token(request.page_token), size, states, codes)
        if request.HasField("link_lifetime"):
            # What does not fit without links needs none.
            items = fitting(page, await self._links_of(page[: len(fitting(page))], request))
        else:
            items = fitting(page)
        complete = len(items) == len(page) < size
        token = "" if complete else str(items[-1].index)
        return api.ListItemsResponse(items=items, next_page_token=token)

    async def WatchBatch(
        self, request: api.WatchBatchRequest, context: Context
    ) -> AsyncIterator[api.WatchBatchResponse]:
        """Follow one batch until it is final."""
        updates = self._watches.one(batch_id_of(request.name), request.after_revision, request.view)
        async for update in updates:
            yield api.WatchBatchResponse(update=update)

    async def WatchBatches(
        self, request: api.WatchBatchesRequest, context: Context
    ) -> AsyncIterator[api.WatchBatchesResponse]:
        """Follow all batches of a client."""
        updates = self._watches.all_of(request.client_id, request.after_revisions, request.view)
        async for update in updates:
            yield api.WatchBatchesResponse(update=update)

    async def PauseBatch(self, request: api.PauseBatchRequest, context: Context) -> api.PauseBatchResponse:
        """Stop taking up items."""
        return api.PauseBatchResponse(batch=codec.batch_message(await self._set(request.name, BatchState.PAUSED)))

    async def ResumeBatch(self, request: api.ResumeBatchRequest, context: Context) -> api.ResumeBatchResponse:
        """Take up items again."""
        return api.ResumeBatchResponse(batch=codec.batch_message(await self._set(request.name, BatchState.ACTIVE)))

    async def CancelBatch(self, request: api.CancelBatchRequest, context: Context) -> api.CancelBatchResponse:
        """Give the batch up; its items follow in chunks."""
        batch = await self._set(request.name, BatchState.CANCELLING)
        self._cancelled.set()
        return api.CancelBatchResponse(batch=codec.batch_message(batch))

    async def RetryFailedItems(
        self, request: api.RetryFailedItemsRequest, context: Context
    ) -> api.RetryFailedItemsResponse:
        """Give failed items another attempt."""
        batch_id = batch_id_of(request.name)
        batch, items = await control.retry_failed(self._records, batch_id, list(request.error_codes), time.time())
        self._changes.announce([batch.id])
        return api.RetryFailedItemsResponse(batch=codec.batch_message(batch), items=items)

    async def GetBatchReport(self, request: api.GetBatchReportRequest, context: Context) -> api.GetBatchReportResponse:
        """Report on a batch as it stands."""
        tally = await self._records.tally(batch_id_of(request.name))
        if tally is None:
            raise not_found(request.name)
        return api.GetBatchReportResponse(report=make_report(tally, time.time()))

    async def _links_of(self, page: Sequence[ItemRow], request: api.ListItemsRequest) -> Mapping[str, str]:
        """URLs of a page's renders by key, as long as the request asks for them."""
        lifetime_s = request.link_lifetime.ToNanoseconds() / 1e9
        if not 1 <= lifetime_s <= LONGEST_LINK_S:
            raise invalid("Links can't last so long.", ("link_lifetime", "is 1 second to 7 days"))
        if self._links is None:
            raise _NO_LINKS
        keys = sorted({render.key for row in page for render in row.facts.renders})
        return dict(zip(keys, await self._links(keys, lifetime_s), strict=True))

    async def _batch(self, name: str, field: str = "name") -> Batch:
        batch = await self._records.batch(batch_id_of(name, field))
        if batch is None:
            raise not_found(name)
        return batch

    async def _set(self, name: str, wish: BatchState) -> Batch:
        batch = await control.set_state(self._records, batch_id_of(name), wish, time.time())
        self._changes.announce([batch.id])
        return batch


_NO_LINKS = CallError(
    grpc.StatusCode.UNIMPLEMENTED, "NO_LINKS", "This mill can't give links to its pictures; ask for items without them."
)
_NOT_HERE = CallError(grpc.StatusCode.UNIMPLEMENTED, "ASK_THE_GATEWAY", "Batches come in through the gateway.")


def batch_id_of(name: str, field: str = "name") -> str:
    """The id in a batch's resource name. Raises `CallError` when it is none."""
    collection, _, batch_id = name.partition("/")
    if collection != "batches" or not batch_id or "/" in batch_id:
        raise invalid(f"{name!r} is no batch's name.", (field, "has the form batches/{batch}"))
    return batch_id


def _states(asked: Iterable[int]) -> list[State]:
    known = {state.value for state in State}
    if unknown := [state for state in asked if state not in known]:
        raise invalid(f"{unknown[0]} is no state of an item.", ("states", "is one of Item.State's, UNSPECIFIED aside"))
    return [State(state) for state in asked]


def _page_size(asked: int, largest: int) -> int:
    if asked < 0:
        raise invalid("A page can't have a negative size.", ("page_size", "is 0 or more"))
    return min(asked or DEFAULT_PAGE, largest)


def _item_token(token: str) -> int:
    if token and not (token.isdecimal() and len(token) <= INDEX_DIGITS):
        raise invalid("The page token is none of ours.", ("page_token", "is the next_page_token of the page before"))
    return int(token) if token else -1


def _batch_token(token: str) -> tuple[float, str] | None:
    if not token:
        return None
    created_at, _, batch_id = token.partition("/")
    try:
        return (float(created_at), batch_id)
    except ValueError:
        problem = ("page_token", "is the next_page_token of the page before")
        raise invalid("The page token is none of ours.", problem) from None
