"""The queues: what they are made of, the proof that they hold what they take, and their epoch.

    imagemill.download, .process, .events    what is to be done; given up after DELIVERY_LIMIT returns
    <name>.dead                              what was given up or rejected; never given up
    <name>.buried                            what was rejected there as well; it waits for people
    imagemill.epoch                          one message that names the life of the queues
    imagemill.lock                           exclusive: whoever holds it makes and judges the queues

All are quorum queues but the last, and dead letters move at least once.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelLockedResource

from imagemill.ports.broker import DELIVERY_LIMIT, BrokerUnavailable, Queue

log = logging.getLogger(__name__)

SpareConnection = Callable[[], AbstractAsyncContextManager[AbstractConnection]]

BROADCASTS = "imagemill.broadcasts"
EPOCHS = "imagemill.epochs"
_EPOCH = "imagemill.epoch"
_LOCK = "imagemill.lock"

CANARY = "imagemill.canary"
"""The type of a message that proves a queue and is nobody's work."""

BEGUN = "imagemill.epoch-begun"
"""The type of a message that tells of an epoch as it begins."""

SETTLE_S = 1.5
"""How old a new quorum queue must be before it is trusted, in seconds: one that is killed within a second of its
declaration loses everything that was confirmed to it."""
LOCK_PAUSE_S = 0.05
ANSWER_S = 10.0
"""How long a queue may be silent before it is given up, in seconds; a new leader is found within two."""
_NO_LIMIT = 1_000_000_000
"""A delivery limit that is never reached. RabbitMQ 4 has one of 20 where none is set, and its word for none (-1) is
refused by 3.10."""


def dead(queue: Queue) -> str:
    """The queue for the dead letters of another."""
    return f"{queue}.dead"


def buried(queue: Queue) -> str:
    """The queue for dead letters that nobody can deal with."""
    return f"{queue}.buried"


async def settle(connection: AbstractConnection, spare: SpareConnection) -> str:
    """Make the queues that are missing, prove new ones, and return the epoch.

    The epoch is a new one when a work queue was missing, or the old one's record. A queue that never answers is made
    anew: one that was killed while it was made never does again. `spare` opens connections that asking it may cost.

    Raises `BrokerUnavailable`, and the library's errors.
    """
    async with _lock(connection):
        missing = {name for name in _quorum_queues() if not await _exists(connection, name)}
        work = missing & set(Queue)
        async with connection.channel(on_return_raises=True) as channel:
            await _declare(channel, missing - work)
            if not await _answers(spare, _EPOCH, _look):
                await _replace(channel, _EPOCH)
            records = await _epoch_records(channel)
            if records and not work:
                return await _keep_latest(records)
            # Before what is lost is there again: whoever comes after a death of this process must not take it for old.
            for record in records:
                await record.ack()
            await _declare(channel, work)
            # Without a record none can be trusted: whoever made them may have died before it had proved them.
            await _prove_all(channel, spare, missing if records else set(_quorum_queues()))
            return await _renew(channel, records)


async def _prove_all(channel: AbstractChannel, spare: SpareConnection, names: set[str]) -> None:
    for _ in range(2):
        await asyncio.sleep(SETTLE_S)
        answers = await asyncio.gather(*(_answers(spare, name, _prove) for name in names))
        names = {name for name, answer in zip(names, answers, strict=True) if not answer}
        for name in names:
            await _replace(channel, name)
        if not names:
            return
    raise BrokerUnavailable(f"RabbitMQ has queues that do not answer: {', '.join(sorted(names))}")


async def _answers(
    spare: SpareConnection, name: str, question: Callable[[AbstractChannel, str], Awaitable[None]]
) -> bool:
    """Ask something of a queue. A connection that waits for an answer is good for nothing else."""
    async with spare() as connection:
        channel = connection.channel(on_return_raises=True)
        await channel.initialize()
        try:
            async with asyncio.timeout(ANSWER_S):
                await question(channel, name)
        except TimeoutError:
            return False
        return True


async def _look(channel: AbstractChannel, name: str) -> None:
    queue = await channel.get_queue(name, ensure=False)
    if message := await queue.get(fail=False):
        await message.nack()
    await channel.close()


async def _replace(channel: AbstractChannel, name: str) -> None:
    log.error(
        "The queue %s did not answer for %g s; it is made anew, without what was on it.",
        name,
        ANSWER_S,
        extra={"action": "queue_replaced"},
    )
    await channel.queue_delete(name)
    await _declare(channel, {name})


def canary(body: bytes = b"") -> Message:
    """A message that no consumer shows to anyone."""
    return Message(body, type=CANARY, delivery_mode=DeliveryMode.PERSISTENT)


def _quorum_queues() -> Mapping[str, Mapping[str, str | int]]:
    return dict(_each_queue())


def _each_queue() -> Iterator[tuple[str, Mapping[str, str | int]]]:
    for queue in Queue:
        yield queue.value, _arguments(DELIVERY_LIMIT, dead(queue))
        yield dead(queue), _arguments(_NO_LIMIT, buried(queue))
        yield buried(queue), _arguments(_NO_LIMIT)
    yield _EPOCH, _arguments(_NO_LIMIT)


def _arguments(delivery_limit: int, dead_letters: str = "") -> Mapping[str, str | int]:
    arguments: dict[str, str | int] = {"x-queue-type": "quorum", "x-delivery-limit": delivery_limit}
    if dead_letters:
        arguments |= {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead_letters,
            "x-dead-letter-strategy": "at-least-once",
            # At-least-once dead lettering needs it: a full queue refuses, it drops nothing.
            "x-overflow": "reject-publish",
        }
    return arguments


@asynccontextmanager
async def _lock(connection: AbstractConnection) -> AsyncIterator[None]:
    """One process at a time makes and judges the queues; the lock falls with its holder's connection."""
    while True:
        channel = connection.channel()
        try:
            await channel.initialize()
            queue = await channel.declare_queue(_LOCK, exclusive=True)
            break
        except ChannelLockedResource:  # it is another connection's
            await asyncio.sleep(LOCK_PAUSE_S)
    try:
        yield
    finally:
        await queue.delete(if_unused=False, if_empty=False)
        await channel.close()


async def _exists(connection: AbstractConnection, name: str) -> bool:
    # A channel does not survive the answer no.
    channel = connection.channel()
    await channel.initialize()
    try:
        await channel.declare_queue(name, passive=True)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True


async def declare_exchanges(channel: AbstractChannel) -> None:
    """Make the exchanges that tell all sessions something, where they are missing. Raises the library's errors."""
    for exchange in (BROADCASTS, EPOCHS):
        await channel.declare_exchange(exchange, ExchangeType.FANOUT, durable=True)


async def _declare(channel: AbstractChannel, missing: set[str]) -> None:
    arguments = _quorum_queues()
    for name in sorted(missing):
        await channel.declare_queue(name, durable=True, arguments=dict(arguments[name]))


async def _prove(channel: AbstractChannel, name: str) -> None:
    """Publish a canary and get it back; what else is on the queue stays there."""
    queue = await channel.get_queue(name, ensure=False)
    mark = uuid.uuid4().bytes
    await channel.default_exchange.publish(canary(mark), name)
    others: list[AbstractIncomingMessage] = []
    try:
        while True:
            message = await queue.get(fail=False)
            if message is None:
                # Confirmed, and not there: a consumer took it up, which proves the queue as well, or it is lost.
                if (await channel.declare_queue(name, passive=True)).declaration_result.consumer_count:
                    return
                raise BrokerUnavailable(f"RabbitMQ lost a message that it had confirmed, on {name}")
            if message.type == CANARY:
                await message.ack()
                if message.body == mark:
                    return
            else:
                others.append(message)
    finally:
        for other in others:
            await other.nack()


async def _epoch_records(channel: AbstractChannel) -> list[AbstractIncomingMessage]:
    """The records of epochs, oldest first; more than one only when the broker died and forgot that one was taken."""
    queue = await channel.get_queue(_EPOCH, ensure=False)
    records: list[AbstractIncomingMessage] = []
    while message := await queue.get(fail=False):
        if message.type == CANARY:
            await message.ack()
        else:
            records.append(message)
    return sorted(records, key=lambda record: record.body)


async def _keep_latest(records: list[AbstractIncomingMessage]) -> str:
    for older in records[:-1]:
        await older.ack()
    await records[-1].nack()
    return records[-1].body.decode()


async def _renew(channel: AbstractChannel, records: list[AbstractIncomingMessage]) -> str:
    """Begin an epoch later than those of the records, and tell those who are connected."""
    latest = int(records[-1].body.split(b"-")[0], 16) if records else 0
    # Named so that people see the order; where records and the right time are lost, the order is what was told.
    epoch = f"{max(time.time_ns(), latest + 1):016x}-{uuid.uuid4().hex}"
    record = Message(epoch.encode(), delivery_mode=DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(record, _EPOCH)
    exchange = await channel.get_exchange(EPOCHS, ensure=False)
    await exchange.publish(Message(epoch.encode(), type=BEGUN), "", mandatory=False)
    return epoch
