"""The outbox: groups, their durability, and a broker that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from imagemill import codec
from imagemill.domain.failures import FailureCode, TransientError
from imagemill.domain.items import Facts, ItemEvent, State
from imagemill.ports.broker import Queue
from imagemill.runtime import outbox as module
from imagemill.runtime.outbox import GROUP_SIZE, Outbox
from imagemill.v1 import messages_pb2
from tests.support.builders import event
from tests.support.eventually import eventually
from tests.unit.runtime.working import FlakyBroker, Workshop, encode_next, message


async def done() -> None:
    """Nobody waits for this."""


def failed_with(error: Exception) -> ItemEvent:
    assert isinstance(error, TransientError)
    return event(0, State.PENDING, facts=Facts(error.failure))


def put(outbox: Outbox[str], index: int, *, told: Callable[[], Awaitable[None]] = done) -> None:
    outcome = event(index, State.SUCCEEDED)
    outbox.put(outcome.key, outcome, f"next {index}", (f"key {index}",), done=told, failed=failed_with)


def opened(broker: FlakyBroker, settle: Callable[[Sequence[str]], Awaitable[None]] | None = None) -> Outbox[str]:
    return Outbox(broker, next_queue=Queue.PROCESS, encode_next=encode_next, settle=settle)


async def groups_on(broker: FlakyBroker) -> list[list[ItemEvent]]:
    bodies = await Workshop(broker).waits(Queue.EVENTS)
    return [[codec.event_value(each) for each in messages_pb2.ItemEvents.FromString(body).events] for body in bodies]


async def test_what_comes_together_is_published_together() -> None:
    broker = FlakyBroker()
    async with opened(broker) as outbox:
        for index in range(5):
            put(outbox, index)

    (group,) = await groups_on(broker)
    assert [each.index for each in group] == list(range(5))


async def put_and_wait(outbox: Outbox[str], *indexes: int) -> None:
    """Put outcomes and wait until all of them are out."""
    out = [asyncio.Event() for _ in indexes]
    for index, event_ in zip(indexes, out, strict=True):

        async def tell(event_: asyncio.Event = event_) -> None:
            event_.set()

        put(outbox, index, told=tell)
    await asyncio.gather(*(each.wait() for each in out))


async def test_what_comes_after_a_pause_goes_out_at_once_and_what_comes_then_is_gathered() -> None:
    broker = FlakyBroker()
    broker.gather_s = 1000.0

    async with opened(broker) as outbox, asyncio.timeout(5.0):
        await put_and_wait(outbox, 0)
        put(outbox, 1)
        await asyncio.sleep(0)
        put(outbox, 2)
        assert [[each.index for each in group] for group in await groups_on(broker)] == [[0]]

    assert [[each.index for each in group] for group in await groups_on(broker)] == [[1, 2]]


async def test_a_full_group_waits_no_longer() -> None:
    broker = FlakyBroker()
    broker.gather_s = 1000.0

    async with opened(broker) as outbox, asyncio.timeout(5.0):
        await put_and_wait(outbox, 0)
        await put_and_wait(outbox, *range(1, GROUP_SIZE + 1))

    assert [len(group) for group in await groups_on(broker)] == [1, GROUP_SIZE]


async def test_nobody_is_told_before_everything_of_the_group_is_out() -> None:
    broker, seen = FlakyBroker(), list[str]()

    async def settle(keys: Sequence[str]) -> None:
        broker.order.append(f"settle {len(keys)}")

    async def tell() -> None:
        seen.append(broker.order[-1])

    async with opened(broker, settle) as outbox:
        for index in range(3):
            put(outbox, index, told=tell)

    assert broker.order == ["settle 3", f"publish {Queue.PROCESS}", f"publish {Queue.EVENTS}"]
    assert seen == [f"publish {Queue.EVENTS}"] * 3


async def test_a_blob_that_is_gone_fails_its_own_outcome_and_no_other() -> None:
    """Those of a batch that was cancelled may be swept before its outcomes are out."""
    broker = FlakyBroker()

    async def settle(keys: Sequence[str]) -> None:
        if "key 0" in keys:
            raise TransientError(FailureCode.STORE_UNAVAILABLE, "It is gone.")

    async with opened(broker, settle) as outbox:
        for index in range(3):
            put(outbox, index)

    (group,) = await groups_on(broker)
    states = {each.index: each.state for each in group}
    assert states == {0: State.PENDING, 1: State.SUCCEEDED, 2: State.SUCCEEDED}


async def test_when_the_blobs_can_not_be_made_durable_the_groups_outcomes_are_failures() -> None:
    broker, told = FlakyBroker(), list[int]()

    async def settle(keys: Sequence[str]) -> None:
        raise TransientError(FailureCode.STORE_FULL, "The disk is full.")

    async def tell() -> None:
        told.append(1)

    async with opened(broker, settle) as outbox:
        put(outbox, 0, told=tell)
        outbox.tell(event(1, State.FAILED), done=tell)

    (group,) = await groups_on(broker)
    by_index = {each.index: each for each in group}
    assert by_index[0].state is State.PENDING
    assert by_index[0].facts.failure is not None
    assert by_index[0].facts.failure.code is FailureCode.STORE_FULL
    # What has no blobs is told as it is; and nothing that was not stored goes on to the next stage.
    assert by_index[1].state is State.FAILED
    assert await Workshop(broker).waits(Queue.PROCESS) == []
    assert told == [1, 1]


async def test_while_the_broker_is_away_a_group_waits_and_is_published_once_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    broker, told = FlakyBroker(), asyncio.Event()

    async def tell() -> None:
        told.set()

    broker.away = True
    async with opened(broker) as outbox:
        put(outbox, 0, told=tell)
        await eventually(lambda: broker.refused > 3)
        assert not told.is_set()
        broker.away = False
        await eventually(told.is_set)

    assert [[each.index for each in group] for group in await groups_on(broker)] == [[0]]


async def test_an_advisory_event_is_outrun_by_its_items_outcome() -> None:
    broker = FlakyBroker()
    async with opened(broker) as outbox:
        outbox.announce(event(0, State.PROCESSING))
        put(outbox, 0)

    assert [[each.state for each in group] for group in await groups_on(broker)] == [[State.SUCCEEDED]]


async def test_an_advisory_event_is_published_when_the_outcome_is_long_in_coming(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ADVISORY_S", 0.0)
    broker = FlakyBroker()
    async with opened(broker) as outbox:
        outbox.announce(event(0, State.PROCESSING))
        await eventually(lambda: broker.order == [f"publish {Queue.EVENTS}"])
        put(outbox, 0)

    states = [each.state for group in await groups_on(broker) for each in group]
    assert states == [State.PROCESSING, State.SUCCEEDED]


async def test_an_outbox_that_can_publish_no_more_ends_its_stage_and_the_message_comes_again() -> None:
    async def settle(keys: Sequence[str]) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    shop, ended_by_itself = Workshop(settle=settle), asyncio.Event()
    await shop.put(message("b", 0))

    async def work_until_it_ends_by_itself() -> None:
        async with shop.open():
            await shop.until_started(0)
            await eventually(lambda: not shop.broker._listeners)
            ended_by_itself.set()

    with pytest.raises(ZeroDivisionError):
        await work_until_it_ends_by_itself()
    assert ended_by_itself.is_set()

    assert await shop.waits(Queue.DOWNLOAD) == [message("b", 0)]
