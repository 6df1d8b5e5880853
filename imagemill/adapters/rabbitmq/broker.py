"""The port on RabbitMQ: one session at a time, a new one whenever it is lost.

aio-pika's own robust connection is not used: when it comes back it declares the queues again before anyone could see
that they, and everything on them, were gone.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aio_pika.abc import AbstractIncomingMessage

from imagemill.adapters.rabbitmq import topology
from imagemill.adapters.rabbitmq.consumer import Consumer, Listener, Subscription
from imagemill.adapters.rabbitmq.headers import trace_of
from imagemill.adapters.rabbitmq.session import PUBLISH_S, Session
from imagemill.adapters.rabbitmq.trouble import place, translated
from imagemill.ports.broker import BrokerUnavailable, Buried, Delivery, Depth, Queue

log = logging.getLogger(__name__)

RETRY_S = 0.5
"""How long to wait before the next try to connect, in seconds; by chance up to half longer or shorter."""


class RabbitBroker:
    """See `ports.broker.Broker`."""

    gather_s = 0.1
    """A message with its confirm and its acknowledgement costs all who touch it a millisecond together: at 0.03 s the
    services took 8 % more CPU a picture."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: Session | None = None
        self._trouble = f"RabbitMQ at {place(url)} has not answered yet"
        self._subscriptions: dict[Subscription, Session | None] = {}
        self.tried = asyncio.Event()
        """Set once the first try to connect has ended, well or badly."""

    @property
    def epoch(self) -> str:
        """The life of the work queues."""
        return self._present().epoch

    async def publish(self, queue: Queue, bodies: Sequence[bytes], *, trace: str = "") -> None:
        """Put messages on a queue."""
        await self._present().publish(queue, bodies, trace)

    @asynccontextmanager
    async def consume(
        self, queue: Queue, prefetch: int, *, dead: bool = False
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Open a consumer."""
        consumer = Consumer(topology.dead(queue) if dead else queue.value, prefetch)
        async with self._subscribed(consumer):
            yield consumer

    async def broadcast(self, body: bytes) -> None:
        """Tell every listener."""
        await self._present().broadcast(body)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a listener for broadcasts."""
        listener = Listener()
        async with self._subscribed(listener):
            yield listener.each()

    async def buried(self, limit: int) -> Sequence[Buried]:
        """Look at what is buried."""
        found: list[Buried] = []
        session = self._present()
        for queue in Queue:
            async with _buried(session, queue, limit) as messages:
                found += [Buried(queue, message.body) for message in messages]
        return found

    async def redrive(self) -> int:
        """Publish what is buried again."""
        redriven = 0
        session = self._present()
        for queue in Queue:
            # Some at a time, and no more than there were at first: one that can't be dealt with comes back.
            left = (await _numbers_waiting(session, [topology.buried(queue)]))[topology.buried(queue)]
            while left > 0:
                async with _buried(session, queue, min(left, 100)) as messages:
                    for message in messages:
                        await session.publish(queue, [message.body], trace_of(message.headers))
                        await message.ack()
                left -= len(messages) or left
                redriven += len(messages)
        return redriven

    async def depths(self) -> Mapping[Queue, Depth]:
        """How many messages wait."""
        session, names = self._present(), (str, topology.dead, topology.buried)
        counts = await _numbers_waiting(session, [name(queue) for queue in Queue for name in names])
        return {queue: Depth(*(counts[name(queue)] for name in names)) for queue in Queue}

    async def check(self) -> None:
        """See whether messages can be published and consumed now."""
        await self._present().prove()

    async def keep_connected(self) -> None:
        """Have a session whenever there can be one; never returns."""
        while True:
            session: Session | None = None
            try:
                session = Session(self._url)
                await session.open()
                await self._use(session)
            except BrokerUnavailable as error:
                self._is_away(str(error))
            except Exception:
                # Whatever it is, the mill must not lose its conveyor for good.
                log.exception("An unforeseen error of the broker's connection.")
                self._is_away("an unforeseen error of the mill's own; its log has the details")
            finally:
                self._session = None
                if session is not None:
                    await session.close()
            await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.5))

    async def _use(self, session: Session) -> None:
        """Take up the consumers again, and wait for the session's end. Raises `BrokerUnavailable`."""
        self._session = session
        for subscription in list(self._subscriptions):
            await self._attach(subscription, session)
        log.info("Connected to RabbitMQ at %s.", session.where, extra={"action": "broker_connected"})
        self._trouble = ""
        self.tried.set()
        self._is_away(await session.lost)

    def _is_away(self, trouble: str) -> None:
        self._session = None
        self.tried.set()
        if trouble != self._trouble:
            log.warning("The broker is away: %s.", trouble, extra={"action": "broker_away"})
        self._trouble = trouble

    def _present(self) -> Session:
        if self._session is None:
            raise BrokerUnavailable(self._trouble)
        if self._session.lost.done():
            raise BrokerUnavailable(self._session.lost.result())
        return self._session

    @asynccontextmanager
    async def _subscribed(self, subscription: Subscription) -> AsyncIterator[None]:
        self._subscriptions[subscription] = None
        try:
            if (session := self._session) is not None:
                try:
                    await self._attach(subscription, session)
                except BrokerUnavailable as error:
                    # It is attached to the next session.
                    session.lose(str(error))
            yield
        finally:
            self._subscriptions.pop(subscription, None)
            await subscription.leave()

    async def _attach(self, subscription: Subscription, session: Session) -> None:
        if self._subscriptions.get(subscription, session) is not session:
            self._subscriptions[subscription] = session
            await subscription.attach(session)


@asynccontextmanager
async def open_rabbitmq(url: str) -> AsyncIterator[RabbitBroker]:
    """Stay connected to the RabbitMQ at a URL (amqp or amqps) for as long as the context lasts.

    A broker that is away is no error: what needs it raises `BrokerUnavailable`, and consumers wait.
    """
    broker = RabbitBroker(url)
    keeping = asyncio.create_task(broker.keep_connected(), name="broker connection")
    try:
        await broker.tried.wait()
        yield broker
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


@asynccontextmanager
async def _buried(session: Session, queue: Queue, limit: int) -> AsyncIterator[list[AbstractIncomingMessage]]:
    """Some of what is buried; what is not acknowledged stays there. Raises `BrokerUnavailable`."""
    with translated(session.where):
        async with asyncio.timeout(PUBLISH_S):
            channel = await session.browsing_channel()
            place_of_rest = await channel.get_queue(topology.buried(queue), ensure=False)
            messages: list[AbstractIncomingMessage] = []
            while len(messages) < limit and (message := await place_of_rest.get(fail=False)):
                messages.append(message)
    try:
        yield messages
    finally:
        with translated(session.where):
            underlay = await channel.get_underlay_channel()
            await underlay.basic_nack(0, multiple=True, requeue=True)
            await channel.close()


async def _numbers_waiting(session: Session, names: Sequence[str]) -> dict[str, int]:
    """How many messages wait on each queue. Raises `BrokerUnavailable`."""
    with translated(session.where):
        async with asyncio.timeout(PUBLISH_S):
            channel = await session.browsing_channel()
            declared = [await channel.declare_queue(name, passive=True) for name in names]
            await channel.close()
    return {queue.name: queue.declaration_result.message_count or 0 for queue in declared}
