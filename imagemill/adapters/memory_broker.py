"""The conveyor inside one process, with the manners of the real one: encoded, prefetched, redelivered, dead letters."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from imagemill.ports.broker import DELIVERY_LIMIT, Buried, Depth, Queue
from imagemill.strikes import Point, strike


@dataclass(slots=True)
class _Message:
    body: bytes
    trace: str = ""
    returns: int = 0


class _Line:
    """One queue: waiting messages, the line for dead ones, and the consumers' wake-up."""

    def __init__(self, dead: _Line | None, delivery_limit: float) -> None:
        self.waiting: deque[_Message] = deque()
        self.arrived = asyncio.Event()
        self._dead = dead
        self._delivery_limit = delivery_limit

    def put(self, messages: Iterable[_Message]) -> None:
        self.waiting.extend(messages)
        self.arrived.set()

    def put_back(self, messages: Sequence[_Message]) -> None:
        """Return messages to the head, in their order; those over the limit are dead."""
        for message in reversed(messages):
            message.returns += 1
            if message.returns > self._delivery_limit:
                self.bury(message)
            else:
                self.waiting.appendleft(message)
        self.arrived.set()

    def bury(self, message: _Message) -> None:
        """Send a message on to the dead letters."""
        assert self._dead is not None, "nobody consumes what is buried"
        self._dead.put([_Message(message.body, message.trace)])


@dataclass(slots=True)
class _Delivery:
    _message: _Message
    _consumer: _Consumer

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def redelivered(self) -> bool:
        return self._message.returns > 0

    @property
    def trace(self) -> str:
        return self._message.trace

    async def ack(self) -> None:
        self._consumer.settle(self._message)
        strike(Point.MESSAGE_SETTLED)

    async def hand_back(self) -> None:
        if self._consumer.settle(self._message):
            self._consumer.line.put_back([self._message])

    async def reject(self) -> None:
        if self._consumer.settle(self._message):
            self._consumer.line.bury(self._message)


@dataclass(slots=True)
class _Consumer:
    line: _Line
    prefetch: int
    held: dict[int, _Message] = field(default_factory=dict)
    room: asyncio.Event = field(default_factory=asyncio.Event)

    def settle(self, message: _Message) -> bool:
        """Forget a message; whether it was still held."""
        self.room.set()
        return self.held.pop(id(message), None) is not None

    def __aiter__(self) -> _Consumer:
        return self

    async def __anext__(self) -> _Delivery:
        # No await between taking a message and returning it: a wait that is cancelled has taken none.
        while len(self.held) >= self.prefetch or not self.line.waiting:
            woken = self.room if len(self.held) >= self.prefetch else self.line.arrived
            woken.clear()
            await woken.wait()
        message = self.line.waiting.popleft()
        self.held[id(message)] = message
        return _Delivery(message, self)


class MemoryBroker:
    """See `ports.broker.Broker`. Lives and dies with its process, and so does its epoch."""

    gather_s = 0.03

    def __init__(self) -> None:
        self.epoch = f"{time.time_ns():016x}-{uuid.uuid4().hex}"
        self._buried = {queue: _Line(None, float("inf")) for queue in Queue}
        self._dead = {queue: _Line(self._buried[queue], float("inf")) for queue in Queue}
        self._lines = {queue: _Line(self._dead[queue], DELIVERY_LIMIT) for queue in Queue}
        self._listeners: set[asyncio.Queue[bytes]] = set()

    async def publish(self, queue: Queue, bodies: Sequence[bytes], *, trace: str = "") -> None:
        """Put messages on a queue."""
        self._lines[queue].put(_Message(body, trace) for body in bodies)

    @asynccontextmanager
    async def consume(
        self, queue: Queue, prefetch: int, *, dead: bool = False
    ) -> AsyncIterator[AsyncIterator[_Delivery]]:
        """Open a consumer; what it still holds at the end is delivered again."""
        lines = self._dead if dead else self._lines
        consumer = _Consumer(lines[queue], prefetch)
        try:
            yield consumer
        finally:
            held = list(consumer.held.values())
            consumer.held.clear()
            consumer.line.put_back(held)

    async def broadcast(self, body: bytes) -> None:
        """Tell every listener."""
        for listener in self._listeners:
            listener.put_nowait(body)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a listener for broadcasts."""
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.add(heard)
        try:
            yield _each(heard)
        finally:
            self._listeners.discard(heard)

    async def buried(self, limit: int) -> Sequence[Buried]:
        """Look at what is buried."""
        return [
            Buried(queue, message.body)
            for queue, line in self._buried.items()
            for message in list(line.waiting)[:limit]
        ]

    async def redrive(self) -> int:
        """Publish what is buried again."""
        redriven = 0
        for queue, line in self._buried.items():
            messages = [_Message(message.body, message.trace) for message in line.waiting]
            line.waiting.clear()
            self._lines[queue].put(messages)
            redriven += len(messages)
        return redriven

    async def depths(self) -> Mapping[Queue, Depth]:
        """How many messages wait."""
        lines = (self._lines, self._dead, self._buried)
        return {queue: Depth(*(len(kind[queue].waiting) for kind in lines)) for queue in Queue}

    async def check(self) -> None:
        """It is always there."""


async def _each(heard: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    while True:
        yield await heard.get()
