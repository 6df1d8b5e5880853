"""What only RabbitMQ can do to its clients, done to it for real."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from imagemill.adapters.rabbitmq import RabbitBroker, open_rabbitmq, session, topology
from imagemill.ports.broker import DELIVERY_LIMIT, BrokerUnavailable, Queue
from tests.contract.conftest import purge
from tests.support import rabbitmq_node as node_module
from tests.support.eventually import eventually
from tests.support.rabbitmq_node import RabbitNode, ServerMissing

BACK_S = 2.0
"""The promise: consumers are back this many seconds after the broker."""


@pytest.fixture
async def broker(rabbitmq_node: RabbitNode) -> AsyncIterator[RabbitBroker]:
    async with open_rabbitmq(rabbitmq_node.url) as opened:
        await opened.check()
        await purge(rabbitmq_node.url)
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PUBLISH_S", 0.5)


async def published(broker: RabbitBroker, queue: Queue, body: bytes) -> None:
    """Publish as the mill does: what is unknown is published again."""

    async def once() -> bool:
        try:
            await broker.publish(queue, [body])
        except BrokerUnavailable:
            return False
        return True

    await eventually(once, timeout_s=20.0)


async def is_well(broker: RabbitBroker) -> bool:
    try:
        await broker.check()
    except BrokerUnavailable:
        return False
    return True


async def in_thread(step: Callable[[], object]) -> None:
    await asyncio.to_thread(step)


async def test_nothing_confirmed_is_lost_when_the_broker_is_killed_and_consumers_come_back_by_themselves(
    broker: RabbitBroker, rabbitmq_node: RabbitNode
) -> None:
    confirmed, unknown, received = list[bytes](), list[bytes](), list[bytes]()
    epoch = broker.epoch

    async def publish() -> None:
        number = 0
        while not unknown:
            number += 1
            bodies = [b"%d.%d" % (number, each) for each in range(20)]
            try:
                await broker.publish(Queue.DOWNLOAD, bodies)
            except BrokerUnavailable:
                unknown.extend(bodies)
            else:
                confirmed.extend(bodies)

    async def consume() -> None:
        async with broker.consume(Queue.DOWNLOAD, 100) as deliveries:
            async for delivery in deliveries:
                received.append(delivery.body)
                # Some are held for ever, as by slow work: they come again as well.
                if int(delivery.body.split(b".")[1]) % 7 or delivery.redelivered:
                    await delivery.ack()

    consuming, publishing = asyncio.create_task(consume()), asyncio.create_task(publish())
    await eventually(lambda: len(confirmed) > 500 and len(received) > 100)
    rabbitmq_node.kill()
    await publishing
    with pytest.raises(BrokerUnavailable, match="RabbitMQ"):
        broker.epoch  # noqa: B018 # the question is what reading it does
    before = len(received)
    await in_thread(rabbitmq_node.start)
    back = time.monotonic()
    await eventually(lambda: len(received) > before, timeout_s=10.0)

    assert time.monotonic() - back < BACK_S
    await eventually(lambda: set(confirmed) <= set(received), timeout_s=10.0)
    assert set(received) <= {*confirmed, *unknown}
    assert broker.epoch == epoch
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)


async def test_a_broker_that_lost_everything_begins_a_new_epoch_and_is_trusted_at_once(
    broker: RabbitBroker, rabbitmq_node: RabbitNode
) -> None:
    epoch, received = broker.epoch, list[bytes]()
    await broker.publish(Queue.DOWNLOAD, [b"lost with the broker"])
    rabbitmq_node.kill()
    rabbitmq_node.wipe()

    # A consumer that comes while the broker is away waits for it.
    async with broker.consume(Queue.PROCESS, 10) as deliveries:
        await in_thread(rabbitmq_node.start)
        await published(broker, Queue.PROCESS, b"new")
        assert broker.epoch > epoch
        delivery = await anext(deliveries)
        received.append(delivery.body)
        await delivery.ack()
    assert set(received) == {b"new"}

    # The queues are brand new; what they have confirmed outlives a power cut all the same.
    bodies = [b"%d" % number for number in range(200)]
    await broker.publish(Queue.EVENTS, bodies)
    epoch = broker.epoch
    rabbitmq_node.kill()
    await in_thread(rabbitmq_node.start)
    await eventually(lambda: is_well(broker), timeout_s=10.0)
    assert broker.epoch == epoch
    async with broker.consume(Queue.EVENTS, 1000) as deliveries:
        assert {(await anext(deliveries)).body for _ in bodies} == set(bodies)


async def test_a_deleted_queue_is_made_anew_in_a_new_epoch_that_every_process_hears_of(
    broker: RabbitBroker, rabbitmq_node: RabbitNode
) -> None:
    epoch = broker.epoch
    async with open_rabbitmq(rabbitmq_node.url) as publisher, broker.consume(Queue.DOWNLOAD, 10) as deliveries:
        assert publisher.epoch == epoch
        await in_thread(lambda: rabbitmq_node.control("delete_queue", Queue.DOWNLOAD))
        # Only the consumer can notice: the other process publishes nothing meanwhile.
        await eventually(lambda: _epoch(publisher) > epoch, timeout_s=10.0)
        await eventually(lambda: _epoch(broker) == _epoch(publisher))
        await published(publisher, Queue.DOWNLOAD, b"1")
        assert (await anext(deliveries)).body == b"1"


@pytest.mark.parametrize(
    ("name", "kind"), [("f", None), ("0", topology.BEGUN)], ids=["told of", "begun, and the clock went back"]
)
async def test_an_epoch_that_begins_while_a_session_opens_is_not_missed(
    rabbitmq_node: RabbitNode, monkeypatch: pytest.MonkeyPatch, name: str, kind: str | None
) -> None:
    settle, settled = topology.settle, list[str]()

    async def settle_and_be_overtaken(*arguments: Any) -> str:
        settled.append(await settle(*arguments))
        if len(settled) == 1:
            connection = await aio_pika.connect(rabbitmq_node.url)
            channel = await connection.channel()
            notice = aio_pika.Message(name.encode() * 16, type=kind)
            await (await channel.get_exchange(topology.EPOCHS, ensure=False)).publish(notice, "")
            await connection.close()
        return settled[-1]

    monkeypatch.setattr(topology, "settle", settle_and_be_overtaken)
    async with open_rabbitmq(rabbitmq_node.url) as broker:
        await eventually(lambda: len(settled) > 1)
        await eventually(lambda: is_well(broker))


async def test_queues_that_never_answer_are_made_anew_before_work_is_admitted(
    rabbitmq_node: RabbitNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(topology, "ANSWER_S", 0.3)
    monkeypatch.setattr(topology, "SETTLE_S", 0.3)
    monkeypatch.setattr(session, "CLOSE_S", 0.3)
    async with open_rabbitmq(rabbitmq_node.url) as broker:
        epoch = broker.epoch
    # As when a broker is killed while it makes them: they are declared, and nobody is behind them.
    silent = ("imagemill.epoch", Queue.PROCESS)
    for name in silent:
        await in_thread(partial(rabbitmq_node.control, "eval", f"sys:suspend('%2F_{name}')."))

    with caplog.at_level(logging.ERROR):
        async with open_rabbitmq(rabbitmq_node.url) as broker:
            await eventually(lambda: is_well(broker), timeout_s=30.0)
            assert broker.epoch > epoch
            await broker.publish(Queue.PROCESS, [b"1"])
            async with broker.consume(Queue.PROCESS, 10) as deliveries:
                assert (await anext(deliveries)).body == b"1"
    assert [name in record.message for name, record in zip(silent, caplog.records, strict=True)] == [True, True]


async def test_a_message_that_no_queue_takes_is_not_taken_for_published(
    broker: RabbitBroker, rabbitmq_node: RabbitNode
) -> None:
    epoch = broker.epoch
    await in_thread(lambda: rabbitmq_node.control("delete_queue", Queue.EVENTS))
    with pytest.raises(BrokerUnavailable, match="a queue of the mill is gone"):
        await broker.publish(Queue.EVENTS, [b"1"])

    await published(broker, Queue.EVENTS, b"1")
    assert broker.epoch > epoch
    async with broker.consume(Queue.EVENTS, 10) as deliveries:
        assert (await anext(deliveries)).body == b"1"


async def test_a_full_queue_refuses_says_so_and_takes_more_when_it_is_drained(
    broker: RabbitBroker, rabbitmq_node: RabbitNode
) -> None:
    limit = ("short", f"^{Queue.DOWNLOAD}$", '{"max-length": 1}', "--apply-to", "queues")

    async def fill() -> None:
        for _ in range(10):
            await broker.publish(Queue.DOWNLOAD, [b"1", b"2", b"3"])

    await in_thread(lambda: rabbitmq_node.control("set_policy", *limit))
    try:
        with pytest.raises(BrokerUnavailable, match="length limit"):
            await fill()
        async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
            publishing = asyncio.create_task(published(broker, Queue.DOWNLOAD, b"4"))
            while (delivery := await anext(deliveries)).body != b"4":
                await delivery.ack()
            await publishing
    finally:
        await in_thread(lambda: rabbitmq_node.control("clear_policy", "short"))


@pytest.mark.usefixtures("impatient")
async def test_a_broker_short_of_memory_holds_publishers_back_while_consumers_drain_it(
    broker: RabbitBroker, rabbitmq_node: RabbitNode
) -> None:
    await broker.publish(Queue.DOWNLOAD, [b"1", b"2"])
    await in_thread(lambda: rabbitmq_node.control("set_vm_memory_high_watermark", "absolute", "1"))
    try:
        for _ in range(5):
            with pytest.raises(BrokerUnavailable, match="low memory or disk"):
                await broker.publish(Queue.PROCESS, [b"held back"])
        with pytest.raises(BrokerUnavailable, match="low memory or disk"):
            await broker.check()
        async with broker.consume(Queue.DOWNLOAD, 1) as deliveries:
            for body in (b"1", b"2"):
                delivery = await anext(deliveries)
                assert delivery.body == body
                await delivery.ack()
    finally:
        await in_thread(lambda: rabbitmq_node.control("set_vm_memory_high_watermark", "0.4"))

    await published(broker, Queue.PROCESS, b"after")
    async with broker.consume(Queue.PROCESS, 10) as deliveries:
        # Five tries were one message: what the broker would not read did not pile up.
        assert [(await anext(deliveries)).body for _ in range(2)] == [b"held back", b"after"]


@pytest.mark.usefixtures("impatient")
async def test_a_frozen_broker_is_noticed_and_goes_on_when_it_thaws(
    broker: RabbitBroker, rabbitmq_node: RabbitNode
) -> None:
    async with broker.consume(Queue.PROCESS, 10) as deliveries:
        rabbitmq_node.freeze()
        try:
            with pytest.raises(BrokerUnavailable):
                await broker.publish(Queue.PROCESS, [b"1"])
        finally:
            rabbitmq_node.thaw()
        await published(broker, Queue.PROCESS, b"2")
        bodies = [(await anext(deliveries)).body]
        while bodies[-1] != b"2":
            bodies.append((await anext(deliveries)).body)
    assert set(bodies) == {b"1", b"2"}


async def test_a_message_that_kills_its_consumers_is_given_up(broker: RabbitBroker, rabbitmq_node: RabbitNode) -> None:
    await broker.publish(Queue.PROCESS, [b"poison"])
    for _ in range(DELIVERY_LIMIT + 1):
        connection = await aio_pika.connect(rabbitmq_node.url)
        channel = await connection.channel()
        taken = asyncio.Event()

        async def take(message: aio_pika.abc.AbstractIncomingMessage, taken: asyncio.Event = taken) -> None:
            taken.set()

        await (await channel.get_queue(Queue.PROCESS, ensure=False)).consume(take)
        await taken.wait()
        await connection.close()

    async with broker.consume(Queue.PROCESS, 10, dead=True) as letters:
        assert (await anext(letters)).body == b"poison"


async def test_messages_of_a_newer_kind_go_to_the_dead_letters_and_are_spoken_of(
    broker: RabbitBroker, rabbitmq_node: RabbitNode, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await aio_pika.connect(rabbitmq_node.url)
    channel = await connection.channel()
    for version in ("1.7", "2.0"):
        headers: dict[str, Any] = {"imagemill-schema": version, "imagemill-of-the-future": ["whatever", 7]}
        message = aio_pika.Message(version.encode(), headers=headers)
        await channel.default_exchange.publish(message, Queue.DOWNLOAD)
    await connection.close()

    with caplog.at_level(logging.ERROR):
        async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
            assert (await anext(deliveries)).body == b"1.7"
            await eventually(lambda: "schema version 2.0" in caplog.text)
        # No consumer of dead letters can read it either: people have to look.
        async with broker.consume(Queue.DOWNLOAD, 10, dead=True):
            await eventually(lambda: _is_buried(broker, b"2.0"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("guest:guest", "guest:s3cret"), "refuses the user or the password"),
        (("5672/", "5672/nowhere"), "no such virtual host"),
        (("5672", "1"), "can't be reached"),
    ],
)
async def test_a_broker_that_can_not_be_used_is_named_without_its_password(
    rabbitmq_node: RabbitNode, change: tuple[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = rabbitmq_node.url.rsplit(":", 1)[1].rstrip("/")
    old, new = (part.replace("5672", port) for part in change)
    with caplog.at_level(logging.DEBUG, logger="imagemill"):
        async with open_rabbitmq(rabbitmq_node.url.replace(old, new)) as broker:
            with pytest.raises(BrokerUnavailable, match=said):
                await broker.check()

    assert "127.0.0.1:" in caplog.text
    assert "guest" not in caplog.text
    assert "s3cret" not in caplog.text


async def test_something_that_is_no_rabbitmq_is_told_apart() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with open_rabbitmq(f"amqp://guest:guest@127.0.0.1:{port}/") as broker:
            with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port}"):
                await broker.check()


async def test_several_processes_that_come_at_once_agree_on_the_epoch(rabbitmq_node: RabbitNode) -> None:
    async def epoch() -> str:
        async with open_rabbitmq(rabbitmq_node.url) as broker:
            return broker.epoch

    assert len(set(await asyncio.gather(*(epoch() for _ in range(8))))) == 1


def test_where_there_is_no_rabbitmq_the_tests_fail_and_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ServerMissing, match=r"tools/servers\.sh .* IMAGEMILL_TEST_BROKER_URL=amqp://"):
        RabbitNode(tmp_path / "node")


def _epoch(broker: RabbitBroker) -> str:
    try:
        return broker.epoch
    except BrokerUnavailable:
        return ""


async def _is_buried(broker: RabbitBroker, body: bytes) -> bool:
    return body in [letter.body for letter in await broker.buried(100)]
