"""The dispatcher: keeps a bounded window of claimed work on the conveyor.

Claim, publish with confirms, record as published. A claim that is not recorded runs out soon, since this process may
have died in between; while publishing takes longer, the claim is renewed, and what it holds no more is left to others.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import grpc

from gateway.settings import GatewaySettings
from imagemill.ports.broker import Broker, BrokerUnavailable, Queue
from imagemill.runtime import metrics, traces
from imagemill.runtime.jobs import LARGEST_MESSAGE, parts
from imagemill.runtime.lifecycle import pause
from imagemill.strikes import Point, strike
from imagemill.v1 import messages_pb2
from imagemill.v1 import storage_service_pb2 as inner

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

log = logging.getLogger(__name__)

T = TypeVar("T")

CLAIM = 256
"""Items asked for at once."""
PACE_S = 0.2
"""The least time between two claims, in seconds, while the window is at its least: what was claimed is seen to be
downloaded before more is."""
LEAST_BACKLOG = 32
"""Items that may wait to be rendered however slowly that goes, or more by the least window: enough that no worker idles
until the next claim. Before there is a throughput to go by, it is five times as many: with twice as many, workers stood
still for 0.3 s of the first second. A small batch behind them has 10 s, even where a picture takes 0.1 of two cores."""
LEAST_SPAN_S = 1.0
"""How long must be looked at before there is a throughput to go by, in seconds. A batch's first items take longer than
the others, and a handful that fails at once no time at all."""
MESSAGE_S = 0.075
"""The work that a message should hold by recent measure, in seconds: what one death repeats."""
WAIT_S = 1.0
RETRY_S = 1.0
RENEW_S = 5.0
"""How old a claim may be that is published without asking whether it still holds, in seconds."""
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

    def is_known(self, now: float) -> bool:
        """Whether the oldest sample is old enough to tell a rate."""
        return bool(self._samples) and now - self._samples[0][0] >= LEAST_SPAN_S

    def per_second(self, now: float) -> float:
        """The rate since the oldest sample in the span; 0 while none is known."""
        if not self.is_known(now):
            return 0.0
        return sum(items for _, items in self._samples) / (now - self._samples[0][0])


class Departures:
    """Counts what leaves the conveyor, whoever put it there, by what the store has counted for each batch.

    Claims alone would not do: those that fill the window would be taken for throughput, which would widen the window
    by as much again, until all of a slow batch stood in front of whatever comes next.
    """

    def __init__(self) -> None:
        self._at_work: dict[str, inner.BatchAtWork] = {}

    def since_last(self, at_work: Iterable[inner.BatchAtWork]) -> int:
        """How many items have left since the last time; of a batch that was not at work then, none."""
        before, self._at_work = self._at_work, {batch.batch_id: batch for batch in at_work}
        # What a batch had in flight that has none any more has left, too.
        gone = sum(batch.in_flight for batch_id, batch in before.items() if batch_id not in self._at_work)
        known = (batch for batch_id, batch in self._at_work.items() if batch_id in before)
        return gone + sum(max(batch.departed - before[batch.batch_id].departed, 0) for batch in known)


@dataclass(slots=True)
class _Hold:
    """A claim that is being published."""

    token: str
    epoch: str
    asked_at: float
    """When the store was last asked for it, by the clock that never goes back."""


class _Stopped(Exception):
    """Nothing is in hand, or nothing of which an answer came, and what is needed to take more up is away."""


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
            try:
                epoch = await _until_done(self._present_epoch, stop)
                await self._dispatch_once(uuid.uuid4().hex, epoch, stop)
            except _Superseded:
                log.warning("The queues began a new life; what was claimed for the old one is claimed again.")
            except _Stopped:
                return

    async def _dispatch_once(self, token: str, epoch: str, stop: asyncio.Event) -> None:
        # Each step is repeated alone: what is on the queue is not published again because the store is away.
        hold = _Hold(token, epoch, time.monotonic())
        claimed = await _until_done(lambda: self._claim(hold), stop)
        now = time.monotonic()
        self._throughput.record(now, self._departures.since_last(claimed.at_work))
        size = max(1, min(LARGEST_MESSAGE, round(self._throughput.per_second(now) * MESSAGE_S)))
        for claim in claimed.batches:
            await self._publish(claim, size, hold)
        if claimed.batches:
            await _until_done(lambda: self._confirm(token))
            if self._window() <= self.settings.least_window and not self._may_run_dry(claimed, now):
                await asyncio.sleep(PACE_S)

    def _may_run_dry(self, claimed: inner.ClaimItemsResponse, now: float) -> bool:
        """Whether workers, of whose speed nothing is known yet, may be done before the next claim."""
        in_flight = sum(batch.in_flight for batch in claimed.at_work)
        return not self._throughput.is_known(now) and in_flight < self._backlog()

    async def _present_epoch(self) -> str:
        return self._broker.epoch

    def _check(self, epoch: str) -> None:
        if self._broker.epoch != epoch:
            raise _Superseded

    async def _claim(self, hold: _Hold, *, held_only: bool = False) -> inner.ClaimItemsResponse:
        self._check(hold.epoch)
        hold.asked_at = time.monotonic()
        request = inner.ClaimItemsRequest(
            token=hold.token,
            max_items=CLAIM,
            window=self._window(),
            epoch=hold.epoch,
            backlog=self._backlog(),
            held_only=held_only,
        )
        request.wait.FromMilliseconds(int(WAIT_S * 1000))
        async with asyncio.timeout(WAIT_S + ANSWER_S):
            claimed = await self._storage.ClaimItems(request)
        if claimed.batches:
            strike(Point.CLAIM_ANSWERED)
            if not held_only:
                _count(claimed.batches)
        return claimed

    async def _confirm(self, token: str) -> None:
        async with asyncio.timeout(ANSWER_S):
            await self._storage.ConfirmClaim(inner.ConfirmClaimRequest(token=token))
        strike(Point.CLAIM_RECORDED)

    def _window(self) -> int:
        settings = self.settings
        wished = int(settings.window_s * self._throughput.per_second(time.monotonic()))
        window = max(min(wished, settings.largest_window), settings.least_window)
        metrics.WINDOW_ITEMS.set(window)
        return window

    def _backlog(self) -> int:
        """How many items may wait to be rendered: what the window would be if slow downloads needed no room in it.

        A small batch that comes stands behind them, and so waits for seconds at most, however slowly they go.
        """
        rate = self._throughput.per_second(time.monotonic())
        least = max(self.settings.least_window // 8, LEAST_BACKLOG)
        return max(int(self.settings.window_s * rate), least) if rate else 5 * least

    async def _publish(self, claim: inner.BatchClaim, size: int, hold: _Hold) -> None:
        # What is stored durably goes straight to rendering: its source is not asked again.
        stored = [item for item in claim.items if item.HasField("original")]
        missing = [item for item in claim.items if not item.HasField("original")]
        for queue, items in ((Queue.PROCESS, stored), (Queue.DOWNLOAD, missing)):
            if items:
                await _until_done(partial(self._put, queue, claim, items, size, hold))

    async def _put(
        self, queue: Queue, claim: inner.BatchClaim, items: Sequence[inner.ClaimedItem], size: int, hold: _Hold
    ) -> None:
        # What was claimed for queues that are gone is given to others already.
        self._check(hold.epoch)
        if time.monotonic() - hold.asked_at > RENEW_S:
            held = await self._claim(hold, held_only=True)
            items = _still_held(claim, items, held.batches)
        encode = _process_message if queue is Queue.PROCESS else _download_message
        if messages := [encode(claim, part) for part in parts(items, size)]:
            with traces.dispatched(claim.trace, claim.batch_id, [(item.index, item.attempt) for item in items]):
                await self._broker.publish(queue, messages, trace=claim.trace)
            strike(Point.JOBS_PUBLISHED)


def _count(batches: Iterable[inner.BatchClaim]) -> None:
    metrics.CLAIMS.add()
    for item in (item for claim in batches for item in claim.items):
        metrics.CLAIMED_ITEMS.add("redrive" if item.claim > 1 else "retry" if item.attempt else "first")


async def _until_done(step: Callable[[], Awaitable[T]], stop: asyncio.Event | None = None) -> T:
    """Do a step; while the part that it needs is away, try again, and tell of it once.

    Raises `_Stopped` when a step that may be left undone fails once `stop` is set.
    """
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
        await pause(RETRY_S, stop or asyncio.Event())
        if stop is not None and stop.is_set():
            raise _Stopped


def _still_held(
    claim: inner.BatchClaim, items: Sequence[inner.ClaimedItem], held: Sequence[inner.BatchClaim]
) -> Sequence[inner.ClaimedItem]:
    indexes = {item.index for part in held if part.batch_id == claim.batch_id for item in part.items}
    return [item for item in items if item.index in indexes]


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
        priority=claim.priority,
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
