"""A stage at work on jobs that a test wrote down, between real queues of an in-process broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from imagemill import codec
from imagemill.adapters.memory_broker import MemoryBroker, _Message
from imagemill.domain.items import SUSPECT_CLAIMS, Facts, ItemEvent, State
from imagemill.domain.retry import RetryPolicy
from imagemill.ports.broker import BrokerUnavailable, Queue
from imagemill.runtime.markers import Marker
from imagemill.runtime.outbox import Outbox
from imagemill.runtime.stage import Outcome, Stage, Work
from imagemill.v1 import messages_pb2
from tests.support.builders import original
from tests.support.eventually import eventually

KNOWN = Facts(original=original(3))
"""What the stage before found out about every item."""


@dataclass(frozen=True, slots=True)
class Job:
    """One item; its message is `batch:index,index`. Those of batch `suspect` have been claimed often."""

    batch_id: str
    index: int
    attempt: int = 0
    facts: Facts = KNOWN
    claim: int = 1


Handler = Callable[[Job], Awaitable[Outcome[str]]]


def message(batch_id: str, *indexes: int) -> bytes:
    return f"{batch_id}:{','.join(str(index) for index in indexes)}".encode()


MARKER = Marker("epoch", 7.0).encode()


def decode(body: bytes) -> list[Job]:
    if body == MARKER:
        return []
    batch_id, _, indexes = body.decode().partition(":")
    return [Job(batch_id, int(index), claim=_claim(batch_id)) for index in indexes.split(",") if index]


def _claim(batch_id: str) -> int:
    return SUSPECT_CLAIMS if batch_id == "suspect" else 1


def encode_next(names: Iterable[str]) -> list[bytes]:
    return [name.encode() for name in names]


async def succeed(job: Job) -> Outcome[str]:
    event = ItemEvent(job.batch_id, job.index, job.attempt, State.SUCCEEDED, job.facts)
    return Outcome(event, next_job=f"next {job.index}", keys=(f"key {job.index}",))


class FlakyBroker(MemoryBroker):
    """A broker that can be away, and notes in which order things reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.refused = 0
        self.order: list[str] = []

    async def publish(self, queue: Queue, bodies: Sequence[bytes], *, trace: str = "") -> None:
        if self.away:
            self.refused += 1
            raise BrokerUnavailable("the broker is away")
        self.order.append(f"publish {queue}")
        await super().publish(queue, bodies, trace=trace)


@dataclass(slots=True)
class Workshop:
    """The stage's surroundings, and what was seen of its work."""

    broker: FlakyBroker = field(default_factory=FlakyBroker)
    handler: Handler = succeed
    settle: Callable[[Sequence[str]], Awaitable[None]] | None = None
    wanted: Callable[[Sequence[Job]], Awaitable[Sequence[Job]]] | None = None
    slots: int = 4
    grace_s: float = 5.0
    started: Counter[int] = field(default_factory=Counter)
    dropped: list[int] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run the stage; it is stopped at the end, or may have broken before."""
        stop = asyncio.Event()
        outbox = Outbox(self.broker, next_queue=Queue.PROCESS, encode_next=encode_next, settle=self.settle)
        stage = asyncio.create_task(Stage(self.broker, self._work(), outbox).run(stop, self.grace_s))
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(10.0):
                await stage

    def _work(self) -> Work[Job, str]:
        return Work(
            queue=Queue.DOWNLOAD,
            running=State.DOWNLOADING,
            decode=decode,
            handle=self._handle,
            dropped=self._drop,
            wanted=self.wanted or _all_of_them,
            slots=self.slots,
            policy=RetryPolicy(retries=1),
        )

    async def _handle(self, job: Job) -> Outcome[str]:
        self.started[job.index] += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.handler(job)
        finally:
            self.running -= 1

    async def _drop(self, job: Job) -> None:
        self.dropped.append(job.index)

    async def put(self, *bodies: bytes) -> None:
        await self.broker.publish(Queue.DOWNLOAD, bodies)

    def deliver_again(self, *bodies: bytes) -> None:
        """Put messages on the work queue as if they had been delivered before."""
        self.broker._lines[Queue.DOWNLOAD].put_back([_Message(body) for body in bodies])

    async def dead(self, queue: Queue) -> list[bytes]:
        """The dead letters of a queue, taken from it by this."""
        bodies: list[bytes] = []
        async with self.broker.consume(queue, 1000, dead=True) as letters:
            while self.broker._dead[queue].waiting:
                letter = await anext(letters)
                bodies.append(letter.body)
                await letter.ack()
        return bodies

    async def waits(self, queue: Queue) -> list[bytes]:
        """What waits on a queue, and is taken from it by this."""
        await self.broker.publish(queue, [b"marker"])
        bodies: list[bytes] = []
        async with self.broker.consume(queue, 1000) as deliveries, asyncio.timeout(5.0):
            while (delivery := await anext(deliveries)).body != b"marker":
                bodies.append(delivery.body)
                await delivery.ack()
            await delivery.ack()
        return bodies

    async def events(self) -> list[ItemEvent]:
        """The events on their queue, and taken from it by this."""
        return [
            codec.event_value(each)
            for body in await self.waits(Queue.EVENTS)
            for each in messages_pb2.ItemEvents.FromString(body).events
        ]

    async def until_started(self, *indexes: int) -> None:
        await eventually(lambda: all(self.started[index] for index in indexes))


async def _all_of_them(jobs: Sequence[Job]) -> Sequence[Job]:
    return jobs


async def for_ever(job: Job) -> Outcome[str]:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")
