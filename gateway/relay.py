"""BatchService as the world sees it: intake is the gateway's, everything else is relayed to the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

import grpc

from gateway.intake import take_small, take_stream
from gateway.shared_watches import SharedWatches
from imagemill.ports.broker import Broker, BrokerUnavailable
from imagemill.runtime import traces
from imagemill.runtime.calls import Context
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_service_pb2_grpc import BatchServiceServicer

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.batch_service_pb2_grpc import BatchServiceAsyncStub
    from imagemill.v1.storage_service_pb2_grpc import StorageServiceAsyncStub


log = logging.getLogger(__name__)

Request = TypeVar("Request")
Response = TypeVar("Response")


class Relay(BatchServiceServicer):
    """Answers callers with what the store answers; its refusals pass through word for word."""

    def __init__(self, storage: StorageServiceAsyncStub, batches: BatchServiceAsyncStub, broker: Broker) -> None:
        self._storage = storage
        self._batches = batches
        self._watches = SharedWatches(batches)
        self._broker = broker

    async def CreateBatch(self, request: api.CreateBatchRequest, context: Context) -> api.CreateBatchResponse:
        """Take a small batch in one message."""
        with traces.call("CreateBatch", context):
            return api.CreateBatchResponse(batch=await take_small(self._storage, request))

    async def ImportBatch(
        self, request_iterator: AsyncIterator[api.ImportBatchRequest], context: Context
    ) -> api.ImportBatchResponse:
        """Take a batch of any size in chunks."""
        with traces.call("ImportBatch", context):
            return api.ImportBatchResponse(batch=await take_stream(self._storage, request_iterator))

    async def GetBatch(self, request: api.GetBatchRequest, context: Context) -> api.GetBatchResponse:
        """Return one batch."""
        return await self._batches.GetBatch(request)

    async def ListBatches(self, request: api.ListBatchesRequest, context: Context) -> api.ListBatchesResponse:
        """List batches."""
        return await self._batches.ListBatches(request)

    async def ListItems(self, request: api.ListItemsRequest, context: Context) -> api.ListItemsResponse:
        """List items."""
        return await self._batches.ListItems(request)

    async def WatchBatch(
        self, request: api.WatchBatchRequest, context: Context
    ) -> AsyncIterator[api.WatchBatchResponse]:
        """Follow one batch."""
        async with aclosing(self._watches.watch(request)) as responses:
            async for response in responses:
                yield response

    async def WatchBatches(
        self, request: api.WatchBatchesRequest, context: Context
    ) -> AsyncIterator[api.WatchBatchesResponse]:
        """Follow all batches of a client."""
        async for response in _relayed(self._batches.WatchBatches(request)):
            yield response

    async def PauseBatch(self, request: api.PauseBatchRequest, context: Context) -> api.PauseBatchResponse:
        """Stop taking up items."""
        return await self._batches.PauseBatch(request)

    async def ResumeBatch(self, request: api.ResumeBatchRequest, context: Context) -> api.ResumeBatchResponse:
        """Take up items again."""
        return await self._batches.ResumeBatch(request)

    async def CancelBatch(self, request: api.CancelBatchRequest, context: Context) -> api.CancelBatchResponse:
        """Give the batch up, and tell the workers to drop what they have of it."""
        response = await self._batches.CancelBatch(request)
        await asyncio.shield(self._tell_workers(request.name.removeprefix("batches/")))
        return response

    async def _tell_workers(self, batch_id: str) -> None:
        try:
            await self._broker.broadcast(batch_id.encode())
        except BrokerUnavailable as error:
            log.warning("Workers were not told that batch %s is cancelled; they finish in vain: %s.", batch_id, error)

    async def RetryFailedItems(
        self, request: api.RetryFailedItemsRequest, context: Context
    ) -> api.RetryFailedItemsResponse:
        """Give failed items another attempt."""
        return await self._batches.RetryFailedItems(request)

    async def GetBatchReport(self, request: api.GetBatchReportRequest, context: Context) -> api.GetBatchReportResponse:
        """Report on a batch."""
        return await self._batches.GetBatchReport(request)


async def _relayed(call: grpc.aio.UnaryStreamCall[Request, Response]) -> AsyncIterator[Response]:
    """What a watch answers; a caller that hangs up ends the watch behind this one too."""
    try:
        async for response in call:
            yield response
    finally:
        call.cancel()
