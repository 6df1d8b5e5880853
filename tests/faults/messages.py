"""Trouble with messages on the real broker: some come twice, some in another order, some late."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from imagemill.adapters.rabbitmq.trouble import translated
from imagemill.ports.broker import BrokerUnavailable, Queue
from tests.support.postgres_node import run_apart

AT_ONCE = 8
LATE_S = 4.0
PATIENCE_S = 30.0
TROUBLES: dict[str, Callable[[Sequence[AbstractIncomingMessage]], list[AbstractIncomingMessage]]] = {
    "duplicated": lambda messages: [*messages, *messages],
    "reordered": lambda messages: list(messages)[::-1],
    "late": list,
}


def trouble_messages(url: str, trouble: str, chance: random.Random) -> int:
    """Take some messages off the queues and put them back otherwise; how many there were."""
    return run_apart(_trouble(url, trouble, chance.sample(list(Queue), len(Queue))))


async def _trouble(url: str, trouble: str, queues: Sequence[Queue]) -> int:
    number = 0
    # What is taken and not put back, because the broker dies, is delivered again.
    with contextlib.suppress(BrokerUnavailable):
        async with _connected(url) as connection:
            for queue in queues:
                number += await _mix_up(connection, queue, trouble)
    return number


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AbstractConnection]:
    """A connection; whatever goes wrong with it is `BrokerUnavailable`."""
    with translated(url):
        async with asyncio.timeout(PATIENCE_S):
            connection = await aio_pika.connect(url, timeout=5.0)
            try:
                yield connection
            finally:
                with contextlib.suppress(BrokerUnavailable), translated(url):
                    await connection.close()


async def _mix_up(connection: AbstractConnection, name: Queue, trouble: str) -> int:
    channel = await connection.channel(on_return_raises=True)
    queue = await channel.get_queue(name.value, ensure=False)
    taken: list[AbstractIncomingMessage] = []
    while len(taken) < AT_ONCE and (message := await queue.get(fail=False)):
        taken.append(message)
    if trouble == "late" and taken:
        await asyncio.sleep(LATE_S)
    for message in TROUBLES[trouble](taken):
        copy = Message(message.body, headers=message.headers, type=message.type, delivery_mode=DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(copy, name.value)
    for message in taken:
        await message.ack()
    await channel.close()
    return len(taken)


def publish(url: str, queue: str, bodies: Sequence[bytes]) -> None:
    """Put messages on a queue by hand; the broker has to be there."""

    async def put() -> None:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel(on_return_raises=True)
            for body in bodies:
                message = Message(body, delivery_mode=DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, queue)

    run_apart(put())
