"""The dispatcher: keeps a bounded window of claimed work on the conveyor.

Claim, publish with confirms, record as published. A claim that is not recorded, because this process or the broker
died in between, runs out by itself; a token that is repeated returns the same items.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import grpc

from gateway.settings import GatewaySettings
from imagemill.ports.broker import Broker, BrokerUnavailable, Queue
from imagemill.runtime.jobs import LARGEST_MESSAGE, parts
from imagemill.v1 import messages_pb2
from imagemill.v1 import storage_service_pb2 as inner

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

log = logging.getLogger(__name__)

T = TypeVar("T")

CLAIM = 256
"""Items asked for at once."""
MESSAGE_S = 0.075
"""The work that a message should hold by recent measure, in seconds: what one death repeats."""
WAIT_S = 1.0
RETRY_S = 1.0
ANSWER_S = 15.0
"""How long the store may take to answer, in seconds; a repeat of the same call returns the same."""
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
"""What a store answers that is away or restarts; anything else is a fault that waiting does not mend."""


class Throughput:
    """Items per second that have lately left the conveyor."""

    def __init__(self, span_s: float = 10.0) -> None:
        self._span_s = span_s
        self._samples: deque[tuple[float, int]] = deque()

    def record(self, now: float, items: int) -> None:
        """Note that so many items have left since the last time."""
        self._samples.append((now, items))
        while self._samples[0][0] < now - self._span_s:
            self._samples.popleft()

    def per_second(self, now: float) -> float:
        """The rate since the oldest sample in the span."""
        if not self._samples:
            return 0.0
        return sum(items for _, items in self._samples) / max(now - self._samples[0][0], 1.0)


class Departures:
    """Counts what leaves the conveyor by what is claimed and what is in flight after each claim.

    Claims alone would not do: those that fill the window would be taken for throughput, which would widen the window
    by as much again, until all of a slow batch stood in front of whatever comes next.
    """

    MOST_BATCHES = 1000

    def __init__(self) -> None:
        self._in_flight: dict[str, int] = {}

    def since_last(self, claim: inner.BatchClaim) -> int:
        """How many items of the batch have left since its last claim; 0 at its first."""
        before = self._in_flight.pop(claim.batch_id, None)
        self._in_flight[claim.batch_id] = claim.in_flight
        if len(self._in_flight) > self.MOST_BATCHES:
            del self._in_flight[next(iter(self._in_flight))]
        return 0 if before is None else max(before + len(claim.items) - claim.in_flight, 0)


class _Superseded(Exception):
    """The queues for which items were claimed are gone, and so is the claim."""


class Dispatcher:
    """Moves due items from the store to the work queues."""

    def __init__(self, settings: GatewaySettings, storage: StorageServiceAsyncStub, broker: Broker) -> None:
        self.settings = settings
        """May be changed while it runs."""
        self._storage = storage
        self._broker = broker
        self._throughput = Throughput()
        self._departures = Departures()

    async def run(self, stop: asyncio.Event) -> None:
        """Dispatch until `stop` is set, and to the end of what is begun then."""
        while not stop.is_set():
            epoch = await _until_done(self._present_epoch)
            try:
                await self._dispatch_once(uuid.uuid4().hex, epoch)
            except _Superseded:
                log.warning("The queues began a new life; what was claimed for the old one is claimed again.")

    async def _dispatch_once(self, token: str, epoch: str) -> None:
        # Each step is repeated alone: what is on the queue is not published again because the store is away.
        batches = await _until_done(lambda: self._claim(token, epoch))
        rate = self._throughput.per_second(time.monotonic())
        size = max(1, min(LARGEST_MESSAGE, round(rate * MESSAGE_S)))
        for claim in batches:
            await self._publish(claim, size, epoch)
            self._throughput.record(time.monotonic(), self._departures.since_last(claim))
        if batches:
            await _until_done(lambda: self._confirm(token))

    async def _present_epoch(self) -> str:
        return self._broker.epoch

    def _check(self, epoch: str) -> None:
        if self._broker.epoch != epoch:
            raise _Superseded

    async def _claim(self, token: str, epoch: str) -> Sequence[inner.BatchClaim]:
        self._check(epoch)
        request = inner.ClaimItemsRequest(token=token, max_items=CLAIM, window=self._window(), epoch=epoch)
        request.wait.FromMilliseconds(int(WAIT_S * 1000))
        async with asyncio.timeout(WAIT_S + ANSWER_S):
            return (await self._storage.ClaimItems(request)).batches

    async def _confirm(self, token: str) -> None:
        async with asyncio.timeout(ANSWER_S):
            await self._storage.ConfirmClaim(inner.ConfirmClaimRequest(token=token))

    def _window(self) -> int:
        settings = self.settings
        wished = int(settings.window_s * self._throughput.per_second(time.monotonic()))
        return min(max(wished, settings.least_window), settings.largest_window)

    async def _publish(self, claim: inner.BatchClaim, size: int, epoch: str) -> None:
        # What is stored durably goes straight to rendering: its source is not asked again.
        stored = [item for item in claim.items if item.HasField("original")]
        missing = [item for item in claim.items if not item.HasField("original")]
        processes = [_process_message(claim, part) for part in parts(stored, size)]
        downloads = [_download_message(claim, part) for part in parts(missing, size)]
        for queue, messages in ((Queue.PROCESS, processes), (Queue.DOWNLOAD, downloads)):
            if messages:
                await _until_done(partial(self._put, queue, messages, epoch))

    async def _put(self, queue: Queue, messages: Sequence[bytes], epoch: str) -> None:
        # What was claimed for queues that are gone is given to others already.
        self._check(epoch)
        await self._broker.publish(queue, messages)


async def _until_done(step: Callable[[], Awaitable[T]]) -> T:
    """Do a step; while the part that it needs is away, try again, and tell of it once."""
    level = logging.WARNING
    while True:
        try:
            return await step()
        except BrokerUnavailable as error:
            log.log(level, "Dispatching waits for the broker: %s.", error)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _PASSING:
                raise
            log.log(level, "Dispatching waits for the store: %s.", error.code().name)
        except TimeoutError:
            log.log(level, "Dispatching waits for the store: it does not answer.")
        level = logging.DEBUG
        await asyncio.sleep(RETRY_S)


def _download_message(claim: inner.BatchClaim, items: Sequence[inner.ClaimedItem]) -> bytes:
    jobs = [
        messages_pb2.DownloadJob(index=item.index, attempt=item.attempt, claim=item.claim, source=item.source)
        for item in items
    ]
    message = messages_pb2.DownloadJobs(
        batch_id=claim.batch_id,
        recipe=claim.recipe,
        keep_originals=claim.keep_originals,
        keep_undecodable=claim.keep_undecodable,
        jobs=jobs,
    )
    return message.SerializeToString()


def _process_message(claim: inner.BatchClaim, items: Sequence[inner.ClaimedItem]) -> bytes:
    jobs = [
        messages_pb2.ProcessJob(
            index=item.index,
            attempt=item.attempt,
            claim=item.claim,
            original_ref=f"blob:{item.original.key}",
            original=item.original,
            download_ms=item.download_ms,
        )
        for item in items
    ]
    message = messages_pb2.ProcessJobs(
        batch_id=claim.batch_id, recipe=claim.recipe, keep_undecodable=claim.keep_undecodable, jobs=jobs
    )
    return message.SerializeToString()
