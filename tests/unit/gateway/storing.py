"""A store that answers the gateway from memory, and may be away."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import grpc

from imagemill.v1 import batch_pb2
from imagemill.v1 import storage_service_pb2 as inner


def away() -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing)


class FakeStore:
    """Keeps what it was told; `claims` are handed out in turn, each for one token."""

    def __init__(self) -> None:
        self.opened: list[inner.OpenBatchRequest] = []
        self.items: dict[int, inner.NewItem] = {}
        self.appends: list[int] = []
        self.sealed: list[int] = []
        self.claims: deque[list[inner.BatchClaim]] = deque()
        self.departed = 0
        """Items that were handed out before the latest claim: all of them have left the queues by then."""
        self.in_flight = 1
        """Items on the queues, as far as the store knows."""
        self.asked: list[inner.ClaimItemsRequest] = []
        self.confirmed: list[str] = []
        self.failures: dict[str, int] = {}
        """How often a call of this name is still to fail."""

    @property
    def stub(self) -> Any:
        """The store as the gateway sees it; the stubs' own type can't be implemented."""
        return cast("Any", self)

    def _may_fail(self, name: str) -> None:
        if self.failures.get(name, 0):
            self.failures[name] -= 1
            raise away()

    async def OpenBatch(self, request: inner.OpenBatchRequest) -> inner.OpenBatchResponse:
        self.opened.append(request)
        progress = batch_pb2.Progress(total=len(self.items))
        return inner.OpenBatchResponse(
            batch=batch_pb2.Batch(name=f"batches/{request.spec.batch_id}", progress=progress)
        )

    async def AppendItems(self, request: inner.AppendItemsRequest) -> inner.AppendItemsResponse:
        self.appends.append(len(request.items))
        self.items |= {item.index: item for item in request.items}
        return inner.AppendItemsResponse()

    async def SealBatch(self, request: inner.SealBatchRequest) -> inner.SealBatchResponse:
        self.sealed.append(request.total)
        return inner.SealBatchResponse(batch=batch_pb2.Batch(name=f"batches/{request.batch_id}"))

    async def ClaimItems(self, request: inner.ClaimItemsRequest) -> inner.ClaimItemsResponse:
        self.asked.append(request)
        # A real answer takes a turn of the loop at least.
        await asyncio.sleep(0)
        self._may_fail("ClaimItems")
        batches = self.claims.popleft() if self.claims else []
        at_work = [inner.BatchAtWork(batch_id="b", in_flight=self.in_flight, departed=self.departed)]
        self.departed += sum(len(batch.items) for batch in batches)
        return inner.ClaimItemsResponse(batches=batches, at_work=at_work)

    async def ConfirmClaim(self, request: inner.ConfirmClaimRequest) -> inner.ConfirmClaimResponse:
        self._may_fail("ConfirmClaim")
        self.confirmed.append(request.token)
        return inner.ConfirmClaimResponse()
