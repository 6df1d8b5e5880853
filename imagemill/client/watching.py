"""A watch that outlives its connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

from grpc.aio import AioRpcError, UnaryStreamCall

from imagemill.client.errors import MillError, from_rpc_error
from imagemill.v1.batch_service_pb2 import BatchUpdate, WatchBatchRequest, WatchBatchResponse

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0

Connect = Callable[[WatchBatchRequest], "UnaryStreamCall[WatchBatchRequest, WatchBatchResponse]"]


class ResumingWatch:
    """Follows a batch over as many streams as it takes; each goes on behind the last revision that was told."""

    def __init__(self, connect: Connect, request: WatchBatchRequest, give_up_after_s: float) -> None:
        self._connect = connect
        self._request = request
        self._give_up_after_s = give_up_after_s
        self._pause_s = FIRST_PAUSE_S
        self._last_heard = time.monotonic()

    async def updates(self) -> AsyncGenerator[BatchUpdate, None]:
        """Yield every update until the batch's end has been told.

        Raises:
            MillError: the call is refused, or the server was away longer than the watch is to wait.
        """
        while True:
            broken: MillError | None = None
            call = self._connect(self._request)
            try:
                async for response in call:
                    self._note(response.update)
                    yield response.update
                    if response.update.kind == BatchUpdate.KIND_END:
                        return
            except AioRpcError as error:
                broken = from_rpc_error(error)
            finally:
                # A reader that leaves early must not keep the stream open.
                call.cancel()
            await self._wait_or_give_up(broken)

    def _note(self, update: BatchUpdate) -> None:
        # Heartbeats may carry no revision.
        self._request.after_revision = max(self._request.after_revision, update.revision)
        self._pause_s = FIRST_PAUSE_S
        self._last_heard = time.monotonic()

    async def _wait_or_give_up(self, broken: MillError | None) -> None:
        """Wait before the next stream. A stream that ends without a final update counts as broken off."""
        if broken is not None and not broken.may_pass:
            raise broken
        if time.monotonic() - self._last_heard >= self._give_up_after_s:
            raise broken or MillError("UNAVAILABLE", "The server ends the watch again and again.")
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
