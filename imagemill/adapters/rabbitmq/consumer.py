"""Consumers and listeners: what sessions deliver, one after another, handed to whoever waits for it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from functools import partial
from itertools import takewhile
from typing import Protocol

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from imagemill.adapters.rabbitmq.headers import is_readable, schema_of, trace_of
from imagemill.adapters.rabbitmq.session import Session, listen
from imagemill.adapters.rabbitmq.topology import BROADCASTS, CANARY
from imagemill.adapters.rabbitmq.trouble import translated
from imagemill.ports.broker import BrokerUnavailable
from imagemill.strikes import Point, strike

log = logging.getLogger(__name__)

LEAVE_S = 2.0
"""How long a consumer takes to hand back what it holds when it ends, in seconds; without that the broker does."""


class Subscription(Protocol):
    """Something that goes on through every session."""

    async def attach(self, session: Session) -> None:
        """Begin in a session. Raises `BrokerUnavailable`."""

    async def leave(self) -> None:
        """End for good."""


class _Hand:
    """What one session has delivered to a consumer and is not settled.

    Acknowledgements are gathered for a moment: one frame settles all that are contiguous, and what lies past a gap
    is settled alone, so that one slow message holds nobody up.
    """

    def __init__(self, session: Session, channel: AbstractChannel) -> None:
        self._session = session
        self._channel = channel
        self._open: dict[int, AbstractIncomingMessage] = {}
        self._acknowledged: set[int] = set()
        self._flushing: asyncio.Task[None] | None = None

    @property
    def is_live(self) -> bool:
        """Whether the session lasts; what an earlier one delivered is delivered again."""
        return not self._session.lost.done()

    def take(self, message: AbstractIncomingMessage) -> int:
        tag = message.delivery_tag or 0
        self._open[tag] = message
        return tag

    def ack(self, tag: int) -> None:
        if tag not in self._open or not self.is_live:
            return
        self._acknowledged.add(tag)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())

    async def give_back(self, tag: int, *, requeue: bool) -> None:
        message = self._open.get(tag)
        if message is None or tag in self._acknowledged or not self.is_live:
            return
        try:
            # It stays open until this is sent: an acknowledgement of several must not cover it.
            await self._settle(message.reject(requeue=requeue))
        finally:
            self._open.pop(tag, None)

    async def _settle(self, sending: Awaitable[object]) -> None:
        try:
            with translated(self._session.where):
                await sending
        except BrokerUnavailable as error:
            self._session.lose(str(error))

    async def _flush(self) -> None:
        await asyncio.sleep(0)  # whoever acknowledges a group does so without a pause
        while self._acknowledged:
            acknowledged, self._acknowledged = self._acknowledged, set()
            contiguous = list(takewhile(acknowledged.__contains__, self._open))
            alone = sorted(acknowledged.difference(contiguous))
            messages = {tag: self._open.pop(tag) for tag in (*contiguous, *alone)}
            if contiguous:
                await self._settle(messages[contiguous[-1]].ack(multiple=len(contiguous) > 1))
                strike(Point.ACKS_SENT)
            for tag in alone:
                await self._settle(messages[tag].ack())
                strike(Point.ACKS_SENT)
        self._flushing = None

    async def let_go(self, consumer_tag: str) -> None:
        """Hand everything back, in order, and close."""
        if not self.is_live:
            return
        with suppress(BrokerUnavailable), translated(self._session.where):
            async with asyncio.timeout(LEAVE_S):
                underlay = await self._channel.get_underlay_channel()
                await underlay.basic_cancel(consumer_tag)
                if self._flushing is not None:
                    await self._flushing
                # Tag 0 stands for all that are not settled, those included that are still on their way here.
                await underlay.basic_nack(0, multiple=True, requeue=True)
                await self._session.close_channel(self._channel)


class _Delivery:
    __slots__ = ("_hand", "_message", "_tag")

    def __init__(self, hand: _Hand, tag: int, message: AbstractIncomingMessage) -> None:
        self._hand = hand
        self._tag = tag
        self._message = message

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def redelivered(self) -> bool:
        return bool(self._message.redelivered)

    @property
    def trace(self) -> str:
        return trace_of(self._message.headers)

    @property
    def is_live(self) -> bool:
        return self._hand.is_live

    async def ack(self) -> None:
        self._hand.ack(self._tag)

    async def hand_back(self) -> None:
        await self._hand.give_back(self._tag, requeue=True)

    async def reject(self) -> None:
        await self._hand.give_back(self._tag, requeue=False)


class Consumer:
    """Takes deliveries of one queue."""

    def __init__(self, queue: str, prefetch: int) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._arrived: asyncio.Queue[_Delivery] = asyncio.Queue()
        self._hand: _Hand | None = None
        self._tag = uuid.uuid4().hex
        self._has_left = False

    async def attach(self, session: Session) -> None:
        """Consume in a session. Raises `BrokerUnavailable`."""
        with translated(session.where):
            channel = await session.consuming_channel()
            await channel.set_qos(prefetch_count=self._prefetch)
            queue = await channel.get_queue(self._queue, ensure=False)
            hand = self._hand = _Hand(session, channel)
            await queue.consume(partial(self._received, hand), consumer_tag=self._tag)
        if self._has_left:
            await hand.let_go(self._tag)

    async def _received(self, hand: _Hand, message: AbstractIncomingMessage) -> None:
        tag = hand.take(message)
        if message.type == CANARY:
            hand.ack(tag)
        elif not is_readable(message.headers):
            log.error(
                "A message on %s has schema version %s, which this release can't read; it goes to the dead letters.",
                self._queue,
                schema_of(message.headers),
                extra={"action": "message_rejected"},
            )
            await hand.give_back(tag, requeue=False)
        else:
            self._arrived.put_nowait(_Delivery(hand, tag, message))

    def __aiter__(self) -> Consumer:
        return self

    async def __anext__(self) -> _Delivery:
        while not (delivery := await self._arrived.get()).is_live:
            pass  # its session is over: the broker delivers it again
        return delivery

    async def leave(self) -> None:
        """Hand back what is left."""
        self._has_left = True
        if self._hand is not None:
            await self._hand.let_go(self._tag)


class Listener:
    """Hears broadcasts, by a queue of its own that falls with its channel."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._place: tuple[Session, AbstractChannel] | None = None
        self._has_left = False

    async def attach(self, session: Session) -> None:
        """Listen in a session. Raises `BrokerUnavailable`."""
        with translated(session.where):
            channel = await session.consuming_channel()
            self._place = session, channel
            await listen(channel, BROADCASTS, self._hear)
        if self._has_left:
            await self.leave()

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        self._heard.put_nowait(message.body)

    async def each(self) -> AsyncIterator[bytes]:
        """What is heard, as it comes."""
        while True:
            yield await self._heard.get()

    async def leave(self) -> None:
        """Stop listening."""
        self._has_left = True
        if self._place is None:
            return
        session, channel = self._place
        with suppress(BrokerUnavailable), translated(session.where):
            async with asyncio.timeout(LEAVE_S):
                await session.close_channel(channel)
