"""What a stage has to say, published in groups: results and events first, and only then whoever waits is told."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Generic, TypeVar

from imagemill import codec
from imagemill.domain.failures import PipelineError
from imagemill.domain.items import ItemEvent, reduce_events
from imagemill.ports.broker import Broker, BrokerUnavailable, Queue
from imagemill.strikes import Point, strike
from imagemill.v1 import messages_pb2

log = logging.getLogger(__name__)

GROUP_SIZE = 256
"""A group is published when it holds this many outcomes, or the broker's `gather_s` after the group before it."""

ADVISORY_S = 0.5
"""How long an advisory event is held back, in seconds. Most are outrun by the outcome they announce, and each that is
not sent spares a row its move; what takes longer than this is worth showing."""

RETRY_S = 1.0
"""How long to wait for a broker that is away, in seconds."""

LEAVE_S = 5.0
"""How long the broker may take for what is left when the stage stops, in seconds."""

NextT = TypeVar("NextT")


@dataclass(slots=True)
class _Entry(Generic[NextT]):
    event: ItemEvent | None
    next_job: NextT | None
    keys: tuple[str, ...]
    trace: str
    done: Callable[[], Awaitable[None]] | None
    failed: Callable[[Exception], ItemEvent] | None


class Outbox(Generic[NextT]):
    """Groups outcomes and publishes them; leaving its context publishes what is left.

    What can't be published then, because the broker is away, is dropped: nobody is told that it is out, so what it
    came of is delivered and done again.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        next_queue: Queue | None = None,
        encode_next: Callable[[Iterable[NextT]], Sequence[bytes]] | None = None,
        settle: Callable[[Sequence[str]], Awaitable[None]] | None = None,
    ) -> None:
        """`settle` makes a group's blobs durable before anyone hears of them."""
        self._broker = broker
        self._next_queue = next_queue
        self._encode_next = encode_next
        self._settle = settle
        self._entries: list[_Entry[NextT]] = []
        self._onward: list[tuple[bytes, Callable[[], Awaitable[None]]]] = []
        self._advisory: dict[tuple[str, int], tuple[float, ItemEvent]] = {}
        self._came = asyncio.Event()
        self._full = asyncio.Event()
        self._publisher: asyncio.Task[None] | None = None
        self._group: asyncio.Task[None] | None = None
        self._advisory_timer: asyncio.TimerHandle | None = None
        self._leaving = asyncio.Event()

    def announce(self, event: ItemEvent) -> None:
        """Publish an advisory event, unless the item's outcome comes soon."""
        self._advisory[event.key] = (asyncio.get_running_loop().time() + ADVISORY_S, event)
        self._set_timer()

    def _set_timer(self) -> None:
        """Wake the publisher when the oldest advisory event is due; one timer serves all."""
        if self._advisory_timer is None and self._advisory:
            due, _ = next(iter(self._advisory.values()))
            self._advisory_timer = asyncio.get_running_loop().call_at(due, self._advisory_is_due)

    def _advisory_is_due(self) -> None:
        self._advisory_timer = None
        self._came.set()

    def tell(self, event: ItemEvent, done: Callable[[], Awaitable[None]]) -> None:
        """Publish an event."""
        self._add(event.key, _Entry(event, None, (), "", done, None))

    def forward(self, body: bytes, done: Callable[[], Awaitable[None]]) -> None:
        """Send a message on as it is, to the next stage or among the events, behind whatever is told before."""
        self._onward.append((body, done))
        self._came.set()

    async def publish(self, event: ItemEvent) -> None:
        """Publish an event and wait until it is out."""
        out = asyncio.Event()

        async def done() -> None:
            out.set()

        self.tell(event, done)
        await out.wait()

    def put(
        self,
        key: tuple[str, int],
        event: ItemEvent | None,
        next_job: NextT | None,
        keys: tuple[str, ...],
        *,
        done: Callable[[], Awaitable[None]],
        failed: Callable[[Exception], ItemEvent],
        trace: str = "",
    ) -> None:
        """Publish an outcome, its blobs durable before; `failed` makes the event to send if they can't be made so.

        `trace` is the trace context that the next job travels with.
        """
        self._add(key, _Entry(event, next_job, keys, trace, done, failed))

    def _add(self, key: tuple[str, int], entry: _Entry[NextT]) -> None:
        self._advisory.pop(key, None)
        self._entries.append(entry)
        self._came.set()
        if len(self._entries) >= GROUP_SIZE:
            self._full.set()

    async def __aenter__(self) -> Outbox[NextT]:
        self._publisher = asyncio.create_task(self._run(), name="outbox")
        return self

    @property
    def publishing(self) -> asyncio.Task[None]:
        """The task that publishes while the context lasts; done before its end only if it failed."""
        assert self._publisher is not None
        return self._publisher

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leaving.set()
        self.publishing.cancel()
        await asyncio.gather(self.publishing, return_exceptions=True)
        if self._advisory_timer is not None:
            self._advisory_timer.cancel()
        try:
            async with asyncio.timeout(LEAVE_S):
                if self._group is not None:
                    await self._group
                await self._publish_group()
        except (TimeoutError, BrokerUnavailable):
            log.warning("The broker is away at the end; what it was not told of is done again.")

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        next_at = clock()
        while True:
            await self._came.wait()
            # What comes after a pause goes out at once; what comes then is gathered.
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_at):
                    await self._full.wait()
            next_at = clock() + self._broker.gather_s
            # A group once taken is published whole, even when the stage is being stopped.
            self._group = asyncio.create_task(self._publish_group())
            await asyncio.shield(self._group)

    async def _publish_group(self) -> None:
        entries = [*self._due_advisories(), *self._entries]
        onward, self._entries, self._onward = self._onward, [], []
        self._came.clear()
        self._full.clear()
        self._set_timer()
        if entries:
            await self._publish_entries(entries)
        for body, done in onward:
            await self._publish(self._next_queue or Queue.EVENTS, [body], "")
            strike(Point.EVENTS_PUBLISHED)
            await done()
            strike(Point.OUTCOME_TOLD)

    async def _publish_entries(self, entries: Sequence[_Entry[NextT]]) -> None:
        await self._settle_group(entries)
        await self._publish_next_jobs(entries)
        events = reduce_events(entry.event for entry in entries if entry.event is not None).values()
        if events:
            body = messages_pb2.ItemEvents(events=[codec.event_message(event) for event in events])
            await self._publish(Queue.EVENTS, [body.SerializeToString()], "")
            strike(Point.EVENTS_PUBLISHED)
        for entry in entries:
            if entry.done is not None:
                await entry.done()
                strike(Point.OUTCOME_TOLD)

    async def _publish_next_jobs(self, entries: Sequence[_Entry[NextT]]) -> None:
        if self._next_queue is None or self._encode_next is None:
            return
        by_trace: dict[str, list[NextT]] = defaultdict(list)
        for entry in entries:
            if entry.next_job is not None:
                by_trace[entry.trace].append(entry.next_job)
        for trace, next_jobs in by_trace.items():
            await self._publish(self._next_queue, self._encode_next(next_jobs), trace)
            strike(Point.NEXT_JOBS_PUBLISHED)

    def _due_advisories(self) -> list[_Entry[NextT]]:
        now = asyncio.get_running_loop().time()
        due = [key for key, (when, _) in self._advisory.items() if when <= now]
        return [_Entry(self._advisory.pop(key)[1], None, (), "", None, None) for key in due]

    async def _settle_group(self, entries: Sequence[_Entry[NextT]]) -> None:
        holding = [entry for entry in entries if entry.keys]
        if not holding or self._settle is None:
            return
        try:
            await self._settle([key for entry in holding for key in entry.keys])
            strike(Point.GROUP_DURABLE)
        except PipelineError as error:
            if len(holding) > 1:
                # What is gone with its cancelled batch, say, is no trouble of the others.
                for each in holding:
                    await self._settle_group([each])
            elif (failed := holding[0].failed) is not None:
                holding[0].event, holding[0].next_job = failed(error), None

    async def _publish(self, queue: Queue, bodies: Sequence[bytes], trace: str) -> None:
        """Publish, as long as it takes; when the stage is stopping, once. Raises `BrokerUnavailable` then."""
        for tries in count():
            try:
                await self._broker.publish(queue, bodies, trace=trace)
                return
            except BrokerUnavailable as error:
                if self._leaving.is_set():
                    raise
                if not tries:
                    log.warning("%d messages for %s wait for the broker: %s.", len(bodies), queue, error)
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await self._leaving.wait()
