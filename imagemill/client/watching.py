"""Watches that outlive their connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
from grpc.aio import AioRpcError, UnaryStreamCall

from imagemill.client.errors import MillError, from_rpc_error
from imagemill.client.patience import Patience
from imagemill.v1.batch_service_pb2 import BatchUpdate, WatchBatchesRequest, WatchBatchRequest

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.batch_service_pb2_grpc import BatchServiceAsyncStub

LONGEST_SILENCE_S = 30.0
"""Seconds without a word after which a connection counts as dead; a mill that lives says something every ten."""


class Watcher:
    """Follows batches over as many streams as it takes; each goes on behind what the one before has told."""

    def __init__(
        self,
        stub: BatchServiceAsyncStub,
        target: str,
        give_up_after_s: float,
        on_away: Callable[[], None] | None = None,
    ) -> None:
        self._stub = stub
        self._on_away = on_away
        self._target = target
        self._patience = Patience(give_up_after_s)

    async def one(self, request: WatchBatchRequest) -> AsyncGenerator[BatchUpdate, None]:
        """Yield what is told of a batch until its end.

        Raises:
            MillError: the call is refused, or the mill was away longer than the watch is to wait.
        """
        async with aclosing(self._streams(lambda: self._stub.WatchBatch(request))) as updates:
            async for update in updates:
                request.after_revision = max(request.after_revision, update.revision)
                yield update
                if update.kind == BatchUpdate.KIND_END:
                    return

    async def all(self, request: WatchBatchesRequest) -> AsyncGenerator[BatchUpdate, None]:
        """Yield what is told of all batches of a client, for ever. Raises as `one` does."""
        known, ended = request.after_revisions, dict[str, int]()
        async with aclosing(self._streams(lambda: self._stub.WatchBatches(request))) as updates:
            async for update in updates:
                name = update.batch.name
                if ended.get(name, -1) >= update.revision:
                    continue  # a new stream begins with all batches, those that ended before included
                known[name] = max(known.get(name, 0), update.revision)
                if update.kind == BatchUpdate.KIND_END:
                    ended[name] = update.revision
                yield update

    async def _streams(self, connect: Callable[[], UnaryStreamCall[Any, Any]]) -> AsyncGenerator[BatchUpdate, None]:
        while True:
            call = connect()
            try:
                while True:
                    async with asyncio.timeout(LONGEST_SILENCE_S):
                        update = await _next_update(call)
                    if update is None:
                        broken = _ended_early()
                        break
                    self._patience.heard()
                    # A heartbeat says that the connection lives, and that is all it says.
                    if update.kind != BatchUpdate.KIND_HEARTBEAT:
                        yield update
            except AioRpcError as error:
                broken = from_rpc_error(error, self._target)
            except TimeoutError:
                broken = _silent(self._target)
            finally:
                # A reader that leaves early must not keep the stream open.
                call.cancel()
            if self._on_away is not None and broken.may_pass:
                self._on_away()
            await self._patience.wait_after(broken)


async def _next_update(call: UnaryStreamCall[Any, Any]) -> BatchUpdate | None:
    response: Any = await call.read()
    return None if response is grpc.aio.EOF else response.update


def _ended_early() -> MillError:
    return MillError("UNAVAILABLE", "The mill ends the watch again and again.", status=grpc.StatusCode.UNAVAILABLE)


def _silent(target: str) -> MillError:
    message = f"The mill at {target} has said nothing for {LONGEST_SILENCE_S:g} s."
    return MillError("UNAVAILABLE", message, status=grpc.StatusCode.UNAVAILABLE)
