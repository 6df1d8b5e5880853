"""The loop that every worker runs: what it promises about messages, failures, cancellations and stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from imagemill.domain.failures import Failure, FailureCode, PermanentError, TransientError
from imagemill.domain.items import ItemEvent, State
from imagemill.domain.retry import UNFORESEEN
from imagemill.ports.broker import Queue
from imagemill.runtime.stage import Outcome, StageBroken
from tests.support.eventually import eventually
from tests.unit.runtime.working import KNOWN, Job, Workshop, for_ever, message, succeed


async def test_results_and_events_are_published_and_the_message_is_acknowledged() -> None:
    shop = Workshop()
    await shop.put(message("b", 0, 1), message("c", 2))

    async with shop.open():
        await shop.until_started(0, 1, 2)

    assert sorted(await shop.waits(Queue.PROCESS)) == [b"next 0", b"next 1", b"next 2"]
    assert sorted((each.batch_id, each.index, each.state) for each in await shop.events()) == [
        ("b", 0, State.SUCCEEDED), ("b", 1, State.SUCCEEDED), ("c", 2, State.SUCCEEDED),
    ]  # fmt: skip
    assert await shop.waits(Queue.DOWNLOAD) == []


async def test_results_go_out_before_events_and_both_before_the_acknowledgement() -> None:
    shop = Workshop()
    await shop.put(message("b", 0))
    shop.broker.order.clear()

    async with shop.open():
        await eventually(lambda: len(shop.broker.order) == 2)

    assert shop.broker.order == [f"publish {Queue.PROCESS}", f"publish {Queue.EVENTS}"]


async def test_no_message_is_acknowledged_while_its_events_are_not_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagemill.runtime.outbox.RETRY_S", 0.0)
    shop = Workshop()
    await shop.put(message("b", 0))
    shop.broker.away = True

    async with shop.open():
        await eventually(lambda: shop.broker.refused)
        # Another consumer finds nothing: the message is neither acknowledged nor given back.
        held = shop.broker._lines[Queue.DOWNLOAD]
        assert not held.waiting
        shop.broker.away = False

    assert [each.state for each in await shop.events()] == [State.SUCCEEDED]
    assert await shop.waits(Queue.DOWNLOAD) == []


async def test_a_message_is_acknowledged_when_the_last_of_its_jobs_is_out() -> None:
    gate = asyncio.Event()

    async def handler(job: Job) -> Outcome[str]:
        if job.index == 1:
            await gate.wait()
        return await succeed(job)

    shop = Workshop(handler=handler, grace_s=0.0)
    await shop.put(message("b", 0, 1))
    async with shop.open():
        await eventually(lambda: f"publish {Queue.EVENTS}" in shop.broker.order)

    # Job 1 was cut off by the stop: the whole message comes again.
    assert [each.index for each in await shop.events()] == [0]
    assert await shop.waits(Queue.DOWNLOAD) == [message("b", 0, 1)]


async def test_no_more_jobs_run_at_once_than_there_are_slots() -> None:
    shop = Workshop(slots=3)
    await shop.put(*(message("b", *range(n, n + 4)) for n in range(0, 40, 4)))

    async with shop.open():
        await shop.until_started(*range(40))

    assert shop.most_running <= 3
    assert len(await shop.events()) == 40


@pytest.mark.parametrize(
    ("error", "state", "failure"),
    [
        (PermanentError(FailureCode.SOURCE_NOT_FOUND, "Gone.", http_status=404), State.FAILED,
         Failure(FailureCode.SOURCE_NOT_FOUND, "Gone.", 404)),
        (TransientError(FailureCode.SOURCE_SERVER_ERROR, "Busy."), State.PENDING,
         Failure(FailureCode.SOURCE_SERVER_ERROR, "Busy.")),
        (RuntimeError("a secret"), State.PENDING, UNFORESEEN),
    ],
)  # fmt: skip
async def test_what_a_handler_raises_becomes_its_items_failure_and_stops_nothing_else(
    error: Exception, state: State, failure: Failure, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(job: Job) -> Outcome[str]:
        if job.index == 1:
            raise error
        return await succeed(job)

    shop = Workshop(handler=handler)
    await shop.put(message("b", 0, 1), message("b", 2))
    with caplog.at_level(logging.CRITICAL):
        async with shop.open():
            await shop.until_started(0, 1, 2)

    events = {each.index: each for each in await shop.events()}
    assert [events[index].state for index in range(3)] == [State.SUCCEEDED, state, State.SUCCEEDED]
    assert events[1].facts.failure == failure
    assert events[1].facts.original == KNOWN.original
    assert (events[1].delay_s > 0) == (state is State.PENDING)
    assert await shop.waits(Queue.DOWNLOAD) == []


async def test_a_broadcast_of_a_cancelled_batch_drops_its_running_jobs_and_no_others() -> None:
    gate = asyncio.Event()

    async def handler(job: Job) -> Outcome[str]:
        await gate.wait()
        return await succeed(job)

    shop = Workshop(handler=handler)
    await shop.put(message("gone", 0, 1), message("stays", 2))
    async with shop.open():
        await shop.until_started(0, 1, 2)
        await shop.broker.broadcast(b"gone")
        await eventually(lambda: shop.running == 1)
        gate.set()

    assert sorted(shop.dropped) == [0, 1]
    assert [each.index for each in await shop.events()] == [2]
    # They count as dealt with: the store refuses their results anyway.
    assert await shop.waits(Queue.DOWNLOAD) == []


async def test_jobs_of_a_cancelled_batch_that_come_later_are_not_begun() -> None:
    shop = Workshop(handler=for_ever, grace_s=0.0)
    await shop.put(message("gone", 0))
    async with shop.open():
        await shop.until_started(0)
        await shop.broker.broadcast(b"gone")
        await eventually(lambda: shop.dropped == [0])
        await shop.put(message("gone", 1))
        await eventually(lambda: shop.dropped == [0, 1])

    assert not shop.started[1]
    assert await shop.waits(Queue.DOWNLOAD) == []


@pytest.mark.parametrize("steps", range(8))
async def test_a_job_is_given_back_at_whatever_moment_its_cancellation_is_heard(steps: int) -> None:
    shop = Workshop(handler=for_ever, grace_s=0.0)
    async with shop.open():
        await shop.put(message("stays", 0))
        await shop.until_started(0)
        await shop.put(message("gone", 1))
        for _ in range(steps):
            await asyncio.sleep(0)
        await shop.broker.broadcast(b"gone")
        await eventually(lambda: shop.dropped == [1])

    assert await shop.waits(Queue.DOWNLOAD) == [message("stays", 0)]


async def test_a_stop_waits_for_running_jobs_and_hands_the_rest_back() -> None:
    gate = asyncio.Event()

    async def handler(job: Job) -> Outcome[str]:
        await gate.wait()
        return await succeed(job)

    shop = Workshop(handler=handler, slots=2)
    await shop.put(message("b", 0, 1), message("b", 2, 3), message("b", 4))
    async with shop.open():
        await shop.until_started(0, 1)
        asyncio.get_running_loop().call_later(0.01, gate.set)

    assert sorted(each.index for each in await shop.events()) == [0, 1]
    assert await shop.waits(Queue.DOWNLOAD) == [message("b", 2, 3), message("b", 4)]
    # What was taken up and not begun is given back too.
    assert sorted(shop.dropped) in ([], [2, 3])


async def test_a_stop_gives_up_what_takes_longer_than_its_grace() -> None:
    shop = Workshop(handler=for_ever, grace_s=0.0)
    await shop.put(message("b", 0, 1))
    async with shop.open():
        await shop.until_started(0, 1)

    assert sorted(shop.dropped) == [0, 1]
    assert await shop.events() == []
    async with shop.broker.consume(Queue.DOWNLOAD, 1) as deliveries:
        assert (await anext(deliveries)).redelivered


async def test_a_redelivered_message_is_asked_about_and_only_what_is_wanted_is_done() -> None:
    asked: list[int] = []

    async def wanted(jobs: Sequence[Job]) -> Sequence[Job]:
        asked.extend(job.index for job in jobs)
        return [job for job in jobs if job.index == 1]

    shop = Workshop(wanted=wanted)
    await shop.put(message("b", 0, 1), message("b", 2))
    async with shop.broker.consume(Queue.DOWNLOAD, 1) as deliveries:
        await anext(deliveries)
    async with shop.open():
        await shop.until_started(1, 2)

    # The second message was never delivered before: nobody needs to be asked about it.
    assert asked == [0, 1]
    assert shop.dropped == [0]
    assert sorted(each.index for each in await shop.events()) == [1, 2]
    assert await shop.waits(Queue.DOWNLOAD) == []


async def test_a_redelivered_message_of_which_nothing_is_wanted_is_acknowledged() -> None:
    async def nothing(jobs: Sequence[Job]) -> Sequence[Job]:
        return []

    shop = Workshop(wanted=nothing)
    await shop.put(message("b", 0, 1))
    async with shop.broker.consume(Queue.DOWNLOAD, 1) as deliveries:
        await anext(deliveries)
    async with shop.open():
        await eventually(lambda: shop.dropped == [0, 1])

    assert await shop.waits(Queue.DOWNLOAD) == []


async def test_a_handler_that_can_do_no_job_any_more_ends_the_stage_and_the_jobs_are_handed_back() -> None:
    async def handler(job: Job) -> Outcome[str]:
        raise StageBroken("nothing can be rendered")

    shop = Workshop(handler=handler)
    await shop.put(message("b", 0))
    with pytest.RaisesGroup(StageBroken):
        async with shop.open():
            await shop.until_started(0)
            await eventually(lambda: shop.dropped)

    assert await shop.events() == []
    assert await shop.waits(Queue.DOWNLOAD) == [message("b", 0)]


async def test_an_outcome_without_an_event_leaves_it_to_the_next_stage_to_report() -> None:
    async def handler(job: Job) -> Outcome[str]:
        return Outcome(None, next_job="next")

    shop = Workshop(handler=handler)
    await shop.put(message("b", 0))
    async with shop.open():
        await shop.until_started(0)

    assert await shop.events() == []
    assert await shop.waits(Queue.PROCESS) == [b"next"]
    assert await shop.waits(Queue.DOWNLOAD) == []


async def test_a_job_that_takes_long_is_announced_and_one_that_is_done_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagemill.runtime.outbox.ADVISORY_S", 0.05)

    async def handler(job: Job) -> Outcome[str]:
        return await (for_ever(job) if job.index == 1 else succeed(job))

    shop = Workshop(handler=handler, grace_s=0.0)
    await shop.put(message("b", 0, 1))
    told: list[ItemEvent] = []
    async with shop.open():

        async def announced() -> bool:
            told.extend(await shop.events())
            return len(told) >= 2

        await eventually(announced)

    assert [(each.index, each.state) for each in told] == [(0, State.SUCCEEDED), (1, State.DOWNLOADING)]
    assert told[1].facts == KNOWN, "it may outrank the event that brought them"


async def test_a_message_that_can_not_be_read_goes_to_the_dead_letters_and_the_work_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Workshop()
    await shop.put(b"b:gibberish", message("b", 0))
    with caplog.at_level(logging.ERROR):
        async with shop.open():
            await shop.until_started(0)

    assert await shop.dead(Queue.DOWNLOAD) == [b"b:gibberish"]
    assert [each.index for each in await shop.events()] == [0]
    assert await shop.waits(Queue.DOWNLOAD) == []
    assert len(caplog.records) == 1
    assert "gibberish" not in caplog.records[0].message


async def test_when_nobody_can_say_what_is_wanted_all_of_a_redelivered_message_is_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def nobody_answers(jobs: Sequence[Job]) -> Sequence[Job]:
        raise ConnectionError("the store is away")

    shop = Workshop(wanted=nobody_answers)
    await shop.put(message("b", 0, 1))
    async with shop.broker.consume(Queue.DOWNLOAD, 1) as deliveries:
        await anext(deliveries)
    with caplog.at_level(logging.CRITICAL):
        async with shop.open():
            await shop.until_started(0, 1)

    assert sorted(each.index for each in await shop.events()) == [0, 1]
    assert await shop.waits(Queue.DOWNLOAD) == []


async def test_a_stop_ends_the_stage_though_the_broker_is_away_and_its_messages_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagemill.runtime.outbox.RETRY_S", 1000.0)
    shop = Workshop()
    await shop.put(message("b", 0))
    shop.broker.away = True

    async with shop.open():
        await eventually(lambda: shop.broker.refused)

    shop.broker.away = False
    assert await shop.events() == []
    assert await shop.waits(Queue.DOWNLOAD) == [message("b", 0)]


async def test_an_item_that_may_kill_its_worker_is_announced_before_it_is_begun() -> None:
    told: list[list[ItemEvent]] = []

    async def handler(job: Job) -> Outcome[str]:
        told.append(await shop.events())
        return await succeed(job)

    shop = Workshop(handler=handler)
    await shop.put(message("suspect", 0))
    async with shop.open():
        await eventually(lambda: told)

    assert [(each.index, each.state, each.facts) for each in told[0]] == [(0, State.DOWNLOADING, KNOWN)]
    assert [each.state for each in await shop.events()] == [State.SUCCEEDED]


async def test_the_next_stage_gets_the_trace_of_the_message_that_a_job_came_in() -> None:
    traces = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2)]
    shop = Workshop()
    for number, trace in enumerate(traces):
        await shop.broker.publish(Queue.DOWNLOAD, [message("b", number)], trace=trace)
    async with shop.open():
        await shop.until_started(0, 1)

    async with shop.broker.consume(Queue.PROCESS, 10) as deliveries:
        passed_on = {delivery.body: delivery.trace for delivery in [await anext(deliveries) for _ in traces]}
    assert passed_on == {b"next 0": traces[0], b"next 1": traces[1]}


async def test_a_message_that_comes_again_while_its_jobs_are_in_hand_is_not_done_twice() -> None:
    gate = asyncio.Event()

    async def handler(job: Job) -> Outcome[str]:
        await gate.wait()
        return await succeed(job)

    shop = Workshop(handler=handler)
    await shop.put(message("b", 0, 1))
    async with shop.open():
        await shop.until_started(0, 1)
        # As after a lost connection: the broker delivers what is in hand again, and takes no word on the first one.
        shop.deliver_again(message("b", 0, 1), message("b", 1, 2))
        await shop.until_started(2)
        gate.set()

    assert shop.started == {0: 1, 1: 1, 2: 1}
    assert sorted(each.index for each in await shop.events()) == [0, 1, 2]
    # Every copy is acknowledged.
    assert await shop.waits(Queue.DOWNLOAD) == []


async def test_a_job_that_comes_again_is_done_again_once_the_first_is_out() -> None:
    shop = Workshop()
    async with shop.open():
        shop.deliver_again(message("b", 0))
        await eventually(lambda: shop.broker.order.count(f"publish {Queue.EVENTS}") == 1)
        shop.deliver_again(message("b", 0))
        await eventually(lambda: shop.broker.order.count(f"publish {Queue.EVENTS}") == 2)

    assert shop.started == {0: 2}
