"""The promises of `imagemill.ports.broker`, by their numbers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from imagemill.ports.broker import DELIVERY_LIMIT, Broker, Delivery, Depth, Queue
from tests.support.eventually import eventually

PATIENCE_S = 5.0
"""How long a message that is due may take to arrive."""


async def take(deliveries: AsyncIterator[Delivery]) -> Delivery:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(deliveries)


async def take_and_ack(deliveries: AsyncIterator[Delivery], number: int) -> list[bytes]:
    bodies = []
    for _ in range(number):
        delivery = await take(deliveries)
        await delivery.ack()
        bodies.append(delivery.body)
    return bodies


async def nothing_is_ahead_of_a_marker(broker: Broker, queue: Queue, deliveries: AsyncIterator[Delivery]) -> None:
    """Prove that a queue was empty, without waiting: what is published now is what comes next."""
    await broker.publish(queue, [b"marker"])
    assert (await take(deliveries)).body == b"marker"


async def buried(broker: Broker) -> list[tuple[Queue, bytes]]:
    return [(letter.queue, letter.body) for letter in await broker.buried(100)]


async def test_b1_what_was_published_before_anyone_consumes_is_delivered(broker: Broker) -> None:
    await broker.publish(Queue.DOWNLOAD, [b"1", b"2"])

    async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
        assert await take_and_ack(deliveries, 2) == [b"1", b"2"]


async def test_b1_a_queue_gets_only_what_was_published_to_it(broker: Broker) -> None:
    await broker.publish(Queue.DOWNLOAD, [b"download"])
    await broker.publish(Queue.PROCESS, [b"process"])

    async with broker.consume(Queue.PROCESS, 10) as deliveries:
        assert await take_and_ack(deliveries, 1) == [b"process"]
        await nothing_is_ahead_of_a_marker(broker, Queue.PROCESS, deliveries)


async def test_b2_each_message_goes_to_one_of_the_consumers(broker: Broker) -> None:
    sent = [b"%d" % number for number in range(20)]
    received: list[bytes] = []

    async def consume() -> None:
        async with broker.consume(Queue.DOWNLOAD, 1) as deliveries:
            async for delivery in deliveries:
                received.append(delivery.body)
                await delivery.ack()

    consumers = [asyncio.create_task(consume()) for _ in range(3)]
    await broker.publish(Queue.DOWNLOAD, sent)
    await eventually(lambda: len(received) >= len(sent))
    for consumer in consumers:
        consumer.cancel()
    await asyncio.gather(*consumers, return_exceptions=True)

    assert sorted(received) == sorted(sent)


async def test_b2_an_acknowledged_message_never_comes_back(broker: Broker) -> None:
    await broker.publish(Queue.DOWNLOAD, [b"1"])
    async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
        await take_and_ack(deliveries, 1)

    async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
        await nothing_is_ahead_of_a_marker(broker, Queue.DOWNLOAD, deliveries)


async def test_b2_what_is_acknowledged_past_a_gap_stays_acknowledged_and_the_gap_comes_again(broker: Broker) -> None:
    await broker.publish(Queue.DOWNLOAD, [b"%d" % number for number in range(6)])
    async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
        taken = [await take(deliveries) for _ in range(6)]
        await asyncio.gather(*(taken[number].ack() for number in (0, 1, 3, 4)))
        await taken[2].hand_back()
        again = await take(deliveries)
        assert again.body == b"2"

    async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
        assert sorted(await take_and_ack(deliveries, 2)) == [b"2", b"5"]
        await nothing_is_ahead_of_a_marker(broker, Queue.DOWNLOAD, deliveries)


async def test_b3_messages_come_in_the_order_in_which_they_were_published(broker: Broker) -> None:
    sent = [b"%d" % number for number in range(50)]
    await broker.publish(Queue.EVENTS, sent[:20])
    await broker.publish(Queue.EVENTS, sent[20:])

    async with broker.consume(Queue.EVENTS, 3) as deliveries:
        assert await take_and_ack(deliveries, len(sent)) == sent


async def test_b4_no_consumer_holds_more_than_its_prefetch(broker: Broker) -> None:
    await broker.publish(Queue.DOWNLOAD, [b"1", b"2", b"3"])
    async with broker.consume(Queue.DOWNLOAD, 2) as small, broker.consume(Queue.DOWNLOAD, 1) as other:
        first, second = await take(small), await take(small)

        third = await take(other)
        waiting = asyncio.ensure_future(anext(small))
        await broker.publish(Queue.DOWNLOAD, [b"4"])
        await third.ack()

        # The fourth is free, and only the consumer with room may have it.
        assert (await take(other)).body == b"4"
        assert not waiting.done()
        await broker.publish(Queue.DOWNLOAD, [b"5"])
        await second.ack()
        async with asyncio.timeout(PATIENCE_S):
            assert (await waiting).body == b"5"
        await first.ack()


async def test_b5_what_a_consumer_leaves_is_delivered_again_in_order_and_marked(broker: Broker) -> None:
    await broker.publish(Queue.DOWNLOAD, [b"1", b"2", b"3"])
    # The third is never on its way to this consumer, so it must not be marked.
    async with broker.consume(Queue.DOWNLOAD, 2) as deliveries:
        first = await take(deliveries)
        await take(deliveries)
        assert not first.redelivered

    async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
        again = [await take(deliveries) for _ in range(3)]

        assert [delivery.body for delivery in again] == [b"1", b"2", b"3"]
        assert [delivery.redelivered for delivery in again] == [True, True, False]


async def test_b5_what_is_handed_back_is_delivered_again_and_marked(broker: Broker) -> None:
    await broker.publish(Queue.DOWNLOAD, [b"1"])
    async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
        await (await take(deliveries)).hand_back()

        again = await take(deliveries)

        assert (again.body, again.redelivered) == (b"1", True)


async def test_b5_a_consumer_that_breaks_leaves_its_messages_to_the_next(broker: Broker) -> None:
    await broker.publish(Queue.DOWNLOAD, [b"1"])

    async def break_with_a_message_in_hand() -> None:
        async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
            await take(deliveries)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_with_a_message_in_hand()

    async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
        assert (await take(deliveries)).redelivered


async def test_b6_a_message_handed_back_too_often_goes_to_the_dead_letters_in_full(broker: Broker) -> None:
    body = b"poison" * 1000
    await broker.publish(Queue.PROCESS, [body])
    async with broker.consume(Queue.PROCESS, 10) as deliveries:
        for number in range(DELIVERY_LIMIT + 1):
            delivery = await take(deliveries)
            assert (delivery.body, delivery.redelivered) == (body, number > 0)
            await delivery.hand_back()
        await nothing_is_ahead_of_a_marker(broker, Queue.PROCESS, deliveries)

    async with broker.consume(Queue.PROCESS, 10, dead=True) as letters:
        assert await take_and_ack(letters, 1) == [body]
    # It left no trace where it does not belong, nor a second copy where it does.
    assert await buried(broker) == []
    async with (
        broker.consume(Queue.PROCESS, 10) as deliveries,
        broker.consume(Queue.PROCESS, 10, dead=True) as letters,
        broker.consume(Queue.DOWNLOAD, 10, dead=True) as others,
    ):
        await broker.publish(Queue.PROCESS, [b"marker"])
        await (await take(deliveries)).reject()
        assert await take_and_ack(letters, 1) == [b"marker"]
        await broker.publish(Queue.DOWNLOAD, [b"marker"])
        async with broker.consume(Queue.DOWNLOAD, 10) as downloads:
            await (await take(downloads)).reject()
        assert await take_and_ack(others, 1) == [b"marker"]


async def test_b6_a_rejected_message_is_dead_at_once_and_not_delivered_again(broker: Broker) -> None:
    await broker.publish(Queue.EVENTS, [b"gibberish", b"next"])
    async with broker.consume(Queue.EVENTS, 10) as deliveries:
        await (await take(deliveries)).reject()
        assert await take_and_ack(deliveries, 1) == [b"next"]
        await nothing_is_ahead_of_a_marker(broker, Queue.EVENTS, deliveries)

    async with broker.consume(Queue.EVENTS, 10, dead=True) as letters:
        assert await take_and_ack(letters, 1) == [b"gibberish"]


async def test_b7_the_epoch_stays_while_the_queues_live(broker: Broker) -> None:
    before = broker.epoch
    await broker.publish(Queue.DOWNLOAD, [b"1"])
    async with broker.consume(Queue.DOWNLOAD, 1) as deliveries:
        await take(deliveries)

    assert before
    assert broker.epoch == before


async def test_b8_waiting_may_be_cancelled_and_no_message_is_lost_by_it(broker: Broker) -> None:
    async with broker.consume(Queue.EVENTS, 10) as deliveries:
        received = []
        for number in range(10):
            waiting = asyncio.ensure_future(anext(deliveries))
            publishing = asyncio.ensure_future(broker.publish(Queue.EVENTS, [b"%d" % number]))
            # Cancelled at different moments: before, while and after the message arrives.
            for _ in range(number % 4):
                await asyncio.sleep(0)
            waiting.cancel()
            outcome = (await asyncio.gather(waiting, publishing, return_exceptions=True))[0]
            if not isinstance(outcome, BaseException):
                received.append(outcome.body)
                await outcome.ack()
        received += await take_and_ack(deliveries, 10 - len(received))

    assert received == [b"%d" % number for number in range(10)]


async def test_b9_a_broadcast_reaches_every_listener_that_was_there_once(broker: Broker) -> None:
    async with broker.listen() as first, broker.listen() as second:
        await broker.broadcast(b"one")
        async with broker.listen() as late:
            await broker.broadcast(b"two")
            heard = {}
            async with asyncio.timeout(PATIENCE_S):
                heard["first"] = [await anext(first), await anext(first)]
                heard["second"] = [await anext(second), await anext(second)]
                heard["late"] = [await anext(late)]

    assert heard == {"first": [b"one", b"two"], "second": [b"one", b"two"], "late": [b"two"]}


async def test_b9_a_broadcast_without_listeners_goes_nowhere(broker: Broker) -> None:
    await broker.broadcast(b"nobody hears this")

    async with broker.listen() as listener:
        await broker.broadcast(b"this is heard")
        async with asyncio.timeout(PATIENCE_S):
            assert await anext(listener) == b"this is heard"


async def test_b10_dead_letters_are_never_given_up(broker: Broker) -> None:
    await dead_letter(broker, Queue.EVENTS, b"1")
    async with broker.consume(Queue.EVENTS, 10, dead=True) as letters:
        for _ in range(3 * DELIVERY_LIMIT):
            await (await take(letters)).hand_back()

        assert await take_and_ack(letters, 1) == [b"1"]


async def test_b10_a_dead_letter_that_is_rejected_is_buried_until_it_is_redriven(broker: Broker) -> None:
    for queue in Queue:
        await dead_letter(broker, queue, queue.encode())
        async with broker.consume(queue, 10, dead=True) as letters:
            await (await take(letters)).reject()

    everything = [(queue, queue.encode()) for queue in Queue]
    await eventually(lambda: is_buried(broker, everything))
    # Looking takes nothing away.
    await eventually(lambda: is_buried(broker, everything))

    assert await broker.redrive() == len(Queue)
    for queue in Queue:
        async with broker.consume(queue, 10) as deliveries:
            assert await take_and_ack(deliveries, 1) == [queue.encode()]
    assert await buried(broker) == []
    assert await broker.redrive() == 0


async def test_b10_a_look_at_what_is_buried_shows_no_more_than_asked_for(broker: Broker) -> None:
    for body in (b"1", b"2", b"3"):
        await dead_letter(broker, Queue.PROCESS, body)
        async with broker.consume(Queue.PROCESS, 10, dead=True) as letters:
            await (await take(letters)).reject()
    await eventually(lambda: is_buried(broker, [(Queue.PROCESS, body) for body in (b"1", b"2", b"3")]))

    assert len(await broker.buried(2)) == 2
    assert await broker.redrive() == 3
    async with broker.consume(Queue.PROCESS, 10) as deliveries:
        assert sorted(await take_and_ack(deliveries, 3)) == [b"1", b"2", b"3"]


async def test_b12_a_trace_context_arrives_with_its_message_also_among_the_dead(broker: Broker) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await broker.publish(Queue.DOWNLOAD, [b"traced"], trace=trace)
    await broker.publish(Queue.DOWNLOAD, [b"not traced"])
    async with broker.consume(Queue.DOWNLOAD, 10) as deliveries:
        traced, other = await take(deliveries), await take(deliveries)
        assert (traced.trace, other.trace) == (trace, "")
        await traced.reject()
        await other.ack()

    async with broker.consume(Queue.DOWNLOAD, 10, dead=True) as letters:
        letter = await take(letters)
        assert letter.trace == trace
        await letter.ack()


async def test_b13_depths_count_what_waits_and_not_what_is_in_hand(broker: Broker) -> None:
    async def are(**expected: Depth) -> bool:
        return await broker.depths() == {queue: expected.get(queue.name, Depth(0, 0, 0)) for queue in Queue}

    await broker.publish(Queue.DOWNLOAD, [b"1", b"2", b"3"])
    await dead_letter(broker, Queue.PROCESS, b"dead")
    await dead_letter(broker, Queue.EVENTS, b"buried")
    async with broker.consume(Queue.EVENTS, 1, dead=True) as letters:
        await (await take(letters)).reject()

    expected = {"PROCESS": Depth(0, 1, 0), "EVENTS": Depth(0, 0, 1)}
    await eventually(lambda: are(DOWNLOAD=Depth(3, 0, 0), **expected))
    async with broker.consume(Queue.DOWNLOAD, 2) as deliveries:
        in_hand = [await take(deliveries), await take(deliveries)]
        await eventually(lambda: are(DOWNLOAD=Depth(1, 0, 0), **expected))
        for delivery in in_hand:
            await delivery.ack()
    assert await broker.redrive() == 1


async def test_a_broker_that_works_says_so(broker: Broker) -> None:
    await broker.check()


async def dead_letter(broker: Broker, queue: Queue, body: bytes) -> None:
    await broker.publish(queue, [body])
    async with broker.consume(queue, 1) as deliveries:
        await (await take(deliveries)).reject()


async def is_buried(broker: Broker, expected: list[tuple[Queue, bytes]]) -> bool:
    return sorted(await buried(broker)) == sorted(expected)
