"""The in-process broker with a connection for each process: what a dead one still says reaches nobody."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from imagemill.adapters.memory_broker import MemoryBroker, _Consumer, _Delivery, _Line, _Message
from imagemill.ports.broker import BrokerUnavailable, Buried, Depth, Queue
from tests.ordering.schedules import Event, Mishap

LONGEST_HOP_S = 0.02


class Conveyor:
    """Queues whose messages meet with mishaps."""

    def __init__(self, mishaps: Mapping[int, Event], chance: random.Random, note: Callable[[str], None]) -> None:
        self.broker = MemoryBroker()
        self.broker.epoch = f"{1:016x}"
        self.consumers: list[_Consumer] = []
        self._mishaps = mishaps
        self._chance = chance
        self._note = note
        self._published = 0

    async def hop(self) -> None:
        """Take as long as a message does to the broker or back."""
        await asyncio.sleep(self._chance.random() * LONGEST_HOP_S)

    def forget(self, gone: _Consumer) -> None:
        """Forget a consumer that has ended."""
        self.consumers = [consumer for consumer in self.consumers if consumer is not gone]

    def wipe(self) -> None:
        """Lose everything, and begin a new life."""
        for lines in (self.broker._lines, self.broker._dead):
            for line in lines.values():
                line.waiting.clear()
        for consumer in self.consumers:
            consumer.held.clear()
            consumer.room.set()
        self.broker.epoch = f"{int(self.broker.epoch, 16) + 1:016x}"

    def purge(self) -> None:
        """Lose everything that waits for a worker, and tell nobody."""
        for queue in (Queue.DOWNLOAD, Queue.PROCESS):
            self.broker._lines[queue].waiting.clear()

    def put(self, queue: Queue, body: bytes) -> bool:
        """Put a message on a queue, as far as nothing happens to it; whether it is confirmed."""
        self._published += 1
        event = self._mishaps.get(self._published)
        mishap = event.mishap if event else None
        self._note(f"message {self._published} on {queue}" + (f": {mishap.value}" if mishap else ""))
        line, messages = self.broker._lines[queue], [_Message(body)]
        if mishap is Mishap.DUPLICATE:
            messages.append(_Message(body))
        if mishap is Mishap.LATE and event is not None:
            epoch = self.broker.epoch
            asyncio.get_running_loop().call_later(event.lasts_s, self._put_late, line, messages, epoch)
        elif mishap is Mishap.OVERTAKE:
            line.waiting.extendleft(messages)
            line.arrived.set()
        elif mishap not in (Mishap.DROP, Mishap.UNKNOWN_LOST):
            line.put(messages)
        return mishap not in (Mishap.UNKNOWN_ARRIVED, Mishap.UNKNOWN_LOST)

    def _put_late(self, line: _Line, messages: Sequence[_Message], epoch: str) -> None:
        if epoch == self.broker.epoch:
            line.put(messages)


class Connection:
    """See `ports.broker.Broker`; until it is severed."""

    def __init__(self, conveyor: Conveyor) -> None:
        self._conveyor = conveyor
        self._consumers: list[_Consumer] = []
        self.severed = False

    gather_s = 0.03

    @property
    def epoch(self) -> str:
        return self._conveyor.broker.epoch

    def sever(self) -> None:
        """End it as the death of its process does."""
        self.severed = True
        for consumer in self._consumers:
            held = list(consumer.held.values())
            consumer.held.clear()
            consumer.line.put_back(held)

    async def publish(self, queue: Queue, bodies: Sequence[bytes], *, trace: str = "") -> None:
        for body in bodies:
            await self._conveyor.hop()
            if self.severed or not self._conveyor.put(queue, body):
                raise BrokerUnavailable("the broker did not confirm")
        await self._conveyor.hop()
        if self.severed:
            raise BrokerUnavailable("the connection is lost")

    @asynccontextmanager
    async def consume(
        self, queue: Queue, prefetch: int, *, dead: bool = False
    ) -> AsyncIterator[AsyncIterator[_Received]]:
        async with self._conveyor.broker.consume(queue, prefetch, dead=dead) as consumer:
            assert isinstance(consumer, _Consumer)
            self._consumers.append(consumer)
            self._conveyor.consumers.append(consumer)
            try:
                yield _Receiver(consumer, self)
            finally:
                self._conveyor.forget(consumer)

    async def broadcast(self, body: bytes) -> None:
        if not self.severed:
            await self._conveyor.broker.broadcast(body)

    def listen(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._conveyor.broker.listen()

    async def hop(self) -> None:
        await self._conveyor.hop()

    async def buried(self, limit: int) -> Sequence[Buried]:
        return await self._conveyor.broker.buried(limit)

    async def redrive(self) -> int:
        return await self._conveyor.broker.redrive()

    async def depths(self) -> Mapping[Queue, Depth]:
        return await self._conveyor.broker.depths()

    async def check(self) -> None:
        """It is always there."""


@dataclass(slots=True)
class _Receiver:
    _consumer: _Consumer
    _connection: Connection

    def __aiter__(self) -> _Receiver:
        return self

    async def __anext__(self) -> _Received:
        await self._connection.hop()
        delivery = await anext(self._consumer)
        if self._connection.severed:
            self._consumer.line.put_back([self._consumer.held.pop(id(delivery._message))])
            await asyncio.Event().wait()
        return _Received(delivery, self._connection)


@dataclass(slots=True)
class _Received:
    _delivery: _Delivery
    _connection: Connection

    @property
    def body(self) -> bytes:
        return self._delivery.body

    @property
    def redelivered(self) -> bool:
        return self._delivery.redelivered

    @property
    def trace(self) -> str:
        return self._delivery.trace

    async def ack(self) -> None:
        await self._connection.hop()
        if not self._connection.severed:
            await self._delivery.ack()

    async def hand_back(self) -> None:
        if not self._connection.severed:
            await self._delivery.hand_back()

    async def reject(self) -> None:
        if not self._connection.severed:
            await self._delivery.reject()
