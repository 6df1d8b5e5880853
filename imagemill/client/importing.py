"""A list handed in: in calls of bounded length, each repeated until the mill has taken it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from grpc.aio import AioRpcError

from imagemill.client.chunks import Items, in_calls
from imagemill.client.errors import MillError, translated
from imagemill.client.patience import Patience
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import BatchSpec, ImportBatchRequest, ItemChunk

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.batch_service_pb2_grpc import BatchServiceAsyncStub

DEADLINE_S = 600.0
"""Seconds for one call; a mill on a busy disk may need long to make its items durable."""


class Import:
    """Hands a list in. The spec's request id makes it safe to send what may have arrived already."""

    def __init__(
        self,
        stub: BatchServiceAsyncStub,
        target: str,
        spec: BatchSpec,
        patience_s: float,
        on_sent: Callable[[int], None] | None,
    ) -> None:
        self._stub = stub
        self._target = target
        self._spec = spec
        self._patience_s = patience_s
        self._on_sent = on_sent
        self._sent = 0

    async def send(self, items: Items) -> Batch:
        """Return the batch once every item is durable; `items` are read once. Raises `MillError`."""
        batch = Batch()
        async with aclosing(in_calls(items)) as calls:
            async for chunks, more in calls:
                self._spec.more_to_come = more
                batch = await self._taken(chunks)
        return batch

    async def _taken(self, chunks: Sequence[ItemChunk]) -> Batch:
        patience = Patience(self._patience_s)
        while True:
            try:
                return await self._call(chunks)
            except MillError as error:
                await patience.wait_after(error)

    async def _call(self, chunks: Sequence[ItemChunk]) -> Batch:
        call = self._stub.ImportBatch(timeout=DEADLINE_S)
        try:
            await call.write(ImportBatchRequest(spec=self._spec))
            for chunk in chunks:
                await call.write(ImportBatchRequest(chunk=chunk))
                self._note(chunk)
            await call.done_writing()
        except (AioRpcError, asyncio.InvalidStateError):
            # The server ended the call before everything was written: its answer says why.
            pass
        except BaseException:
            call.cancel()
            raise
        with translated(self._target):
            return (await call).batch

    def _note(self, chunk: ItemChunk) -> None:
        self._sent = max(self._sent, chunk.first_index + len(chunk.items))
        if self._on_sent is not None:
            self._on_sent(self._sent)
