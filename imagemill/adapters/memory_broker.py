"""The conveyor inside one process, with the manners of the real one: encoded, prefetched, redelivered, dead letters."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from imagemill.ports.broker import DELIVERY_LIMIT, Queue


@dataclass(slots=True)
class _Message:
    body: bytes
    returns: int = 0


class _Line:
    """One queue: waiting messages, dead ones, and the consumers' wake-up."""

    def __init__(self) -> None:
        self.waiting: deque[_Message] = deque()
        self.dead: list[bytes] = []
        self.arrived = asyncio.Event()

    def put(self, messages: Iterable[_Message]) -> None:
        self.waiting.extend(messages)
        self.arrived.set()

    def put_back(self, messages: Sequence[_Message]) -> None:
        """Return messages to the head, in their order; those over the limit are dead."""
        for message in reversed(messages):
            message.returns += 1
            if message.returns > DELIVERY_LIMIT:
                self.dead.append(message.body)
            else:
                self.waiting.appendleft(message)
        self.arrived.set()


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

    async def ack(self) -> None:
        self._consumer.settle(self._message)

    async def hand_back(self) -> None:
        if self._consumer.settle(self._message):
            self._consumer.line.put_back([self._message])


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

    def __init__(self) -> None:
        self.epoch = uuid.uuid4().hex
        self._lines = {queue: _Line() for queue in Queue}
        self._listeners: set[asyncio.Queue[bytes]] = set()

    async def publish(self, queue: Queue, bodies: Sequence[bytes]) -> None:
        """Put messages on a queue."""
        self._lines[queue].put(_Message(body) for body in bodies)

    @asynccontextmanager
    async def consume(self, queue: Queue, prefetch: int) -> AsyncIterator[AsyncIterator[_Delivery]]:
        """Open a consumer; what it still holds at the end is delivered again."""
        consumer = _Consumer(self._lines[queue], prefetch)
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

    async def dead_letters(self, queue: Queue) -> Sequence[bytes]:
        """Take the dead letters of a queue."""
        line = self._lines[queue]
        dead, line.dead = line.dead, []
        return dead


async def _each(heard: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
    while True:
        yield await heard.get()
