"""One life of the connections to the broker: opened, proved, used, and lost as a whole.

Publishing has a connection of its own: RabbitMQ stops reading from those that publish when it runs short of memory or
disk, and consumers must still be able to acknowledge, or it would never recover.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import PublishError
from yarl import URL

from imagemill.adapters.rabbitmq import topology
from imagemill.adapters.rabbitmq.headers import headers
from imagemill.adapters.rabbitmq.trouble import place, translated
from imagemill.ports.broker import BrokerUnavailable, Queue
from imagemill.strikes import Point, strike

CONNECT_S = 5.0
OPEN_S = 60.0
"""How long a session may take to open, in seconds; making new queues and proving them takes 2."""
CLOSE_S = 2.0
PUBLISH_S = 10.0
"""How long the broker may take to confirm a message, in seconds."""
HEARTBEAT_S = 30
"""How often either side gives a sign of life, in seconds; after three without one the connection counts as broken."""


class Session:
    """Two connections, a channel that publishes with confirms, and the epoch of the queues."""

    def __init__(self, url: str) -> None:
        self.where = place(url)
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when the session can't be used any more; why."""
        self.epoch = ""
        self._latest_epoch = ""
        """The latest by name that was told of; a session's own is told to it as well."""
        self._begun_epoch = ""
        """The last that was told of as it began: the later one, whatever the clock has named it by."""
        self._url = URL(url)
        if "heartbeat" not in self._url.query:
            self._url = self._url.update_query(heartbeat=str(HEARTBEAT_S))
        self._stack = AsyncExitStack()
        self._late: set[asyncio.Future[object]] = set()
        """Published and not confirmed in time."""

    async def open(self) -> None:
        """Connect, prove the queues, learn their epoch. Raises `BrokerUnavailable`."""
        try:
            with translated(self.where):
                async with asyncio.timeout(OPEN_S):
                    await self._open()
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> None:
        publishing = await self._connect("publishing")
        self._consuming = await self._connect("consuming")
        self._publisher = publishing.channel(on_return_raises=True)
        await self._publisher.initialize()
        self._publisher.close_callbacks.add(self._channel_closed)
        notices = await self.consuming_channel()
        await topology.declare_exchanges(notices)
        # Before the epoch is read: another process may begin a new one right after.
        await listen(notices, topology.EPOCHS, self._epoch_began)
        self.epoch = await topology.settle(publishing, self._spare)
        self._leave_older_epoch()
        self._epochs: AbstractExchange = await self._publisher.get_exchange(topology.EPOCHS, ensure=False)
        self._broadcasts: AbstractExchange = await self._publisher.get_exchange(topology.BROADCASTS, ensure=False)

    async def _connect(self, purpose: str) -> AbstractConnection:
        connection = await self._dial(purpose)
        self._stack.push_async_callback(self._disconnect, connection)
        connection.close_callbacks.add(self._connection_closed)
        return connection

    async def _dial(self, purpose: str) -> AbstractConnection:
        connection = aio_pika.Connection(self._url, client_properties={"connection_name": f"imagemill {purpose}"})
        try:
            await connection.connect(timeout=CONNECT_S)
        except BaseException:
            # One that is only dropped closes itself from its finalizer, at whatever moment that runs.
            await connection.close()
            raise
        return connection

    @asynccontextmanager
    async def _spare(self) -> AsyncIterator[AbstractConnection]:
        """A connection for a moment."""
        connection = await self._dial("proving")
        try:
            yield connection
        finally:
            await self._disconnect(connection)

    async def consuming_channel(self) -> AbstractChannel:
        """A channel to consume by; if the broker closes it, the session ends. Raises the library's errors."""
        channel = await self.browsing_channel()
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self._consumer_cancelled)
        channel.close_callbacks.add(self._channel_closed)
        return channel

    async def browsing_channel(self) -> AbstractChannel:
        """A channel for a moment, which may be closed by an answer no. Raises the library's errors."""
        channel = self._consuming.channel(publisher_confirms=False)
        await channel.initialize()
        return channel

    async def close_channel(self, channel: AbstractChannel) -> None:
        """Close a channel that is not needed any more. Raises the library's errors."""
        channel.close_callbacks.discard(self._channel_closed)
        if not channel.is_closed:
            await channel.close()

    def lose(self, why: str) -> None:
        """End the session: someone has seen that it can't go on."""
        if not self.lost.done():
            self.lost.set_result(why)

    async def close(self) -> None:
        """Let go of the connections."""
        self.lose("it was closed")
        await self._stack.aclose()

    async def publish(self, queue: Queue, bodies: Sequence[bytes], trace: str) -> None:
        """Publish messages and see them confirmed. Raises `BrokerUnavailable`."""
        await self._until_settled()
        common = headers(trace)
        exchange = self._publisher.default_exchange
        await self._confirmed(
            [
                exchange.publish(Message(body, headers=common, delivery_mode=DeliveryMode.PERSISTENT), queue.value)
                for body in bodies
            ]
        )

    async def broadcast(self, body: bytes) -> None:
        """Tell every listener. Raises `BrokerUnavailable`."""
        await self._until_settled()
        await self._confirmed([self._broadcasts.publish(Message(body), "", mandatory=False)])

    async def prove(self) -> None:
        """See that messages are taken and queues are there. Raises `BrokerUnavailable`."""
        await self._until_settled()
        await self._confirmed([self._epochs.publish(Message(self.epoch.encode()), "", mandatory=False)])
        with translated(self.where):
            async with asyncio.timeout(PUBLISH_S):
                channel = await self.browsing_channel()
                for queue in Queue:
                    await channel.declare_queue(queue.value, passive=True)
                await channel.close()

    async def _until_settled(self) -> None:
        # A broker that holds publishers back has what it was sent last time: more of the same would only pile up.
        if self._late:
            await asyncio.wait(self._late, timeout=PUBLISH_S)
        if self._late and not self.lost.done():
            raise BrokerUnavailable(f"RabbitMQ at {self.where} holds publishers back (low memory or disk)")

    async def _confirmed(self, publishing: Sequence[Awaitable[object]]) -> None:
        sent = [asyncio.ensure_future(each) for each in publishing]
        for each in sent:
            each.add_done_callback(_look_at)
        _, pending = await asyncio.wait(sent, timeout=PUBLISH_S) if sent else ((), ())
        for each in pending:
            self._late.add(each)
            each.add_done_callback(self._late.discard)
        with translated(self.where):
            if pending:
                raise TimeoutError
            for each in sent:
                try:
                    each.result()
                except PublishError:
                    self.lose(f"a queue of the mill is gone on RabbitMQ at {self.where}")
                    raise

    async def _epoch_began(self, message: AbstractIncomingMessage) -> None:
        epoch = message.body.decode()
        self._latest_epoch = max(self._latest_epoch, epoch)
        if message.type == topology.BEGUN:
            self._begun_epoch = epoch
        if self.epoch:
            self._leave_older_epoch()

    def _leave_older_epoch(self) -> None:
        if self._latest_epoch > self.epoch or self._begun_epoch not in ("", self.epoch):
            self.lose("the queues began a new life")

    async def _disconnect(self, connection: AbstractConnection) -> None:
        with suppress(BrokerUnavailable), translated(self.where):
            async with asyncio.timeout(CLOSE_S):
                await connection.close()

    def _connection_closed(self, *_: object) -> None:
        self.lose(f"the connection to RabbitMQ at {self.where} broke")

    def _channel_closed(self, *_: object) -> None:
        self.lose(f"RabbitMQ at {self.where} closed a channel")

    def _consumer_cancelled(self, _: object) -> None:
        self.lose(f"a queue of the mill is gone on RabbitMQ at {self.where}")


async def listen(
    channel: AbstractChannel, exchange: str, hear: Callable[[AbstractIncomingMessage], Awaitable[None]]
) -> None:
    """Hear what a fanout exchange gets, from now on. Raises the library's errors."""
    queue = await channel.declare_queue(exclusive=True, auto_delete=True)
    await queue.bind(exchange)
    await queue.consume(hear, no_ack=True)


def _look_at(sent: asyncio.Future[object]) -> None:
    """Nobody may be waiting any more for what became of it."""
    if not sent.cancelled():
        sent.exception()
        strike(Point.MESSAGE_CONFIRMED)
