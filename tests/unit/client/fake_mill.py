"""A mill that answers the public API from memory, over a real socket, with outcomes that a test writes down."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status  # type: ignore[import-untyped]  # ships without types

from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch, Failure, Item, Original, Progress, Render, Timings
from imagemill.v1.batch_service_pb2_grpc import BatchServiceServicer, add_BatchServiceServicer_to_server

Context = grpc.aio.ServicerContext[Any, Any]
Outcome = Callable[[Item], None]
Story = list[api.BatchUpdate | asyncio.Event]
"""Updates, and silences that end when their event is set."""


def succeed(item: Item) -> None:
    """Finish an item with one small render for each variant of the fake's recipe."""
    item.state = Item.STATE_SUCCEEDED
    item.attempts = 1
    digest = hashlib.sha256(item.source.encode()).hexdigest()
    item.original.CopyFrom(
        Original(sha256=digest, size_bytes=1234, format="jpeg", width=40, height=30, http_status=200)
    )
    item.timings.CopyFrom(Timings(download_ms=12.34, decode_ms=1, resize_ms=2, encode_ms=3, store_ms=0.06))


def fail(code: str = "SOURCE_NOT_FOUND", message: str = "It is gone.", status: int = 404) -> Outcome:
    """Make an outcome that fails an item."""

    def outcome(item: Item) -> None:
        item.state, item.attempts = Item.STATE_FAILED, 1
        item.failure.CopyFrom(Failure(code=code, message=message, http_status=status))

    return outcome


class FakeMill(BatchServiceServicer):
    """Serves batches that finish as `outcomes` say: by the source of an item, success where it says nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.target = f"unix:{folder / 'mill.sock'}"
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.batches: dict[str, Batch] = {}
        self.items: dict[str, list[Item]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.fingerprint = ""
        """What new batches carry as the fingerprint of their recipe."""
        self.chunks: list[int] = []
        self.specs: list[api.BatchSpec] = []
        self.import_breaks: list[int] = []
        """Each makes one import break off after so many chunks."""
        self.watches: list[api.WatchBatchRequest] = []
        self.breaks: list[grpc.StatusCode] = []
        """Each makes one watch break off after its first message."""
        self.stories: list[Story] = []
        """Each is what one watch tells, of one batch or of all, before the connection breaks."""
        self.all_watches: list[api.WatchBatchesRequest] = []
        self.hold = asyncio.Event()
        """Nothing finishes before it is set."""
        self.hold.set()
        self.refusal: tuple[grpc.StatusCode, str, dict[str, str]] | None = None

    def blob_path(self, key: str) -> Path:
        """Return the file of a key."""
        return self._folder / "blobs" / key

    async def ImportBatch(
        self, request_iterator: AsyncIterator[api.ImportBatchRequest], context: Context
    ) -> api.ImportBatchResponse:
        """Take a batch, or refuse it."""
        if self.refusal is not None:
            await refuse(context, *self.refusal)
        requests = aiter(request_iterator)
        spec = (await anext(requests)).spec
        self.specs.append(spec)
        breaks_after = self.import_breaks.pop(0) if self.import_breaks else None
        taken = 0
        batch = self.batches.setdefault(spec.batch_id, self._opened(spec))
        items = self.items.setdefault(batch.name, [])
        async for request in requests:
            if taken == breaks_after:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            taken += 1
            self.chunks.append(len(request.chunk.items))
            first = request.chunk.first_index
            items[first:] = [
                Item(index=index, source=source.uri, source_row=source.source_row, state=Item.STATE_PENDING)
                for index, source in enumerate(request.chunk.items, first)
            ]
        if not spec.more_to_come:
            batch.state = Batch.STATE_ACTIVE
        self._count(batch)
        return api.ImportBatchResponse(batch=batch)

    def _opened(self, spec: api.BatchSpec) -> Batch:
        batch = Batch(state=Batch.STATE_RECEIVING, name=f"batches/{spec.batch_id}")
        batch.MergeFrom(spec.batch)
        batch.recipe_fingerprint = self.fingerprint
        batch.create_time.GetCurrentTime()
        return batch

    async def GetBatch(self, request: api.GetBatchRequest, context: Context) -> api.GetBatchResponse:
        """Return a batch, or that there is none."""
        return api.GetBatchResponse(batch=await self._known(request.name, context))

    async def _known(self, name: str, context: Context) -> Batch:
        batch = self.batches.get(name.removeprefix("batches/"))
        if batch is None:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "BATCH_NOT_FOUND", {})
        assert batch is not None
        return batch

    async def ListBatches(self, request: api.ListBatchesRequest, context: Context) -> api.ListBatchesResponse:
        """List one batch a page."""
        names, place = list(self.batches), int(request.page_token or 0)
        following = str(place + 1) if place + 1 < len(names) else ""
        return api.ListBatchesResponse(
            batches=[self.batches[name] for name in names[place : place + 1]], next_page_token=following
        )

    async def ListItems(self, request: api.ListItemsRequest, context: Context) -> api.ListItemsResponse:
        """List items, in pages."""
        items = [item for item in self.items[request.parent] if not request.states or item.state in request.states]
        place, size = int(request.page_token or 0), request.page_size or 100
        following = str(place + size) if place + size < len(items) else ""
        return api.ListItemsResponse(items=items[place : place + size], next_page_token=following)

    async def WatchBatch(
        self, request: api.WatchBatchRequest, context: Context
    ) -> AsyncIterator[api.WatchBatchResponse]:
        """Tell the snapshot, finish one item after the other, tell the end."""
        self.watches.append(request)
        if self.stories:
            async for update in _told(self.stories.pop(0), context):
                yield api.WatchBatchResponse(update=update)
        batch = await self._known(request.name, context)
        items = self.items[batch.name]
        yield _response(api.BatchUpdate.KIND_SNAPSHOT, batch, [i for i in items if i.revision > request.after_revision])
        if self.breaks:
            await context.abort(self.breaks.pop(0), "gone")
        for item in items:
            await self.hold.wait()
            if item.state == Item.STATE_PENDING:
                self._finish(batch, item)
                yield _response(api.BatchUpdate.KIND_CHANGE, batch, [item])
        batch.state = Batch.STATE_COMPLETED
        yield _response(api.BatchUpdate.KIND_END, batch, [])

    def _finish(self, batch: Batch, item: Item) -> None:
        self.outcomes.get(item.source, succeed)(item)
        if item.state == Item.STATE_SUCCEEDED:
            self._render(batch, item)
        batch.revision += 1
        item.revision = batch.revision
        self._count(batch)

    def _render(self, batch: Batch, item: Item) -> None:
        for variant in batch.recipe.variants:
            key = f"{item.original.sha256}/{variant.name}.jpg"
            path = self.blob_path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{variant.name} of {item.source}".encode())
            item.renders.append(Render(variant=variant.name, key=key, format="jpeg", width=4, height=3, size_bytes=9))

    def _count(self, batch: Batch) -> None:
        states = [item.state for item in self.items[batch.name]]
        batch.progress.CopyFrom(
            Progress(
                total=len(states),
                pending=states.count(Item.STATE_PENDING),
                succeeded=states.count(Item.STATE_SUCCEEDED),
                failed=states.count(Item.STATE_FAILED),
                skipped=states.count(Item.STATE_SKIPPED),
            )
        )

    async def GetBatchReport(self, request: api.GetBatchReportRequest, context: Context) -> api.GetBatchReportResponse:
        """Report what can be counted."""
        batch = await self._known(request.name, context)
        codes = [item.failure.code for item in self.items[batch.name] if item.state == Item.STATE_FAILED]
        errors = [api.CodeCount(code=code, count=codes.count(code)) for code in sorted(set(codes))]
        return api.GetBatchReportResponse(report=api.BatchReport(batch=batch, errors=errors))

    async def ResumeBatch(self, request: api.ResumeBatchRequest, context: Context) -> api.ResumeBatchResponse:
        """Make a batch active."""
        batch = await self._known(request.name, context)
        batch.state = Batch.STATE_ACTIVE
        return api.ResumeBatchResponse(batch=batch)

    async def PauseBatch(self, request: api.PauseBatchRequest, context: Context) -> api.PauseBatchResponse:
        """Make a batch paused."""
        batch = await self._known(request.name, context)
        batch.state = Batch.STATE_PAUSED
        return api.PauseBatchResponse(batch=batch)

    async def RetryFailedItems(
        self, request: api.RetryFailedItemsRequest, context: Context
    ) -> api.RetryFailedItemsResponse:
        """Say that nothing failed."""
        return api.RetryFailedItemsResponse(batch=await self._known(request.name, context))

    async def CancelBatch(self, request: api.CancelBatchRequest, context: Context) -> api.CancelBatchResponse:
        """Make a batch cancelled."""
        batch = await self._known(request.name, context)
        batch.state = Batch.STATE_CANCELLED
        return api.CancelBatchResponse(batch=batch)

    async def CreateBatch(self, request: api.CreateBatchRequest, context: Context) -> api.CreateBatchResponse:
        """Refuse: the client under test sends every list as a stream."""
        raise NotImplementedError

    async def WatchBatches(
        self, request: api.WatchBatchesRequest, context: Context
    ) -> AsyncIterator[api.WatchBatchesResponse]:
        """Tell a story."""
        self.all_watches.append(request)
        async for update in _told(self.stories.pop(0), context):
            yield api.WatchBatchesResponse(update=update)


async def _told(story: Story, context: Context) -> AsyncIterator[api.BatchUpdate]:
    for part in story:
        if isinstance(part, asyncio.Event):
            await part.wait()
        else:
            yield part
    await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


def _response(kind: api.BatchUpdate.Kind.ValueType, batch: Batch, items: list[Item]) -> api.WatchBatchResponse:
    return api.WatchBatchResponse(update=api.BatchUpdate(kind=kind, batch=batch, items=items, revision=batch.revision))


async def refuse(context: Context, code: grpc.StatusCode, reason: str, fields: dict[str, str]) -> None:
    """End a call the way the mill's servers do: with a reason, and with the fields that are wrong."""
    status = status_pb2.Status(code=code.value[0], message="No.")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="imagemill"))
    if fields:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=text) for field, text in fields.items()
        ]
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
    rich = rpc_status.to_status(status)
    await context.abort(code, "No.", rich.trailing_metadata)


@asynccontextmanager
async def serving(
    folder: Path,
    prepare: Callable[[FakeMill], None] | None = None,
    register: Callable[[FakeMill, grpc.aio.Server], None] = add_BatchServiceServicer_to_server,
) -> AsyncIterator[FakeMill]:
    """Serve a fake mill on a socket in `folder`; `register` says how its answers travel."""
    mill = FakeMill(folder)
    if prepare is not None:
        prepare(mill)
    server = grpc.aio.server()
    register(mill, server)
    server.add_insecure_port(mill.target)
    await server.start()
    try:
        yield mill
    finally:
        await server.stop(None)
