"""The loop that every worker runs: from a message to the next messages.

A handler fetches or renders one job and returns an `Outcome`; it never publishes, acknowledges, retries or
reports. The loop does, in one order: handler, then results and events published and confirmed, then the message
acknowledged. A redelivery therefore changes nothing that counts: keys are derived and rows only move forward.

A message holds a few jobs of one batch. They are handled side by side and their outcomes published as they come;
the message is acknowledged when the last of them is out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar

from imagemill.domain.failures import PipelineError
from imagemill.domain.items import SUSPECT_CLAIMS, Facts, ItemEvent, State, Timings
from imagemill.domain.retry import GiveUp, RetryPolicy, decide
from imagemill.places import Places
from imagemill.ports.broker import Broker, Delivery, Queue
from imagemill.runtime import metrics, traces
from imagemill.runtime.in_hand import Hand, InHand, JobT, Message
from imagemill.runtime.markers import marker_in
from imagemill.runtime.outbox import Outbox
from imagemill.strikes import Point, strike

log = logging.getLogger(__name__)


NextT = TypeVar("NextT")
Turn = Callable[[JobT], AbstractAsyncContextManager[None]]

LIFE_S = 15.0
"""How often jobs are told of that are in hand for long, in seconds: nobody must take them for lost."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[NextT]):
    """What came of a job: an event for its row, a job for the next stage, and the blobs both speak of.

    An outcome without an event leaves it to the next stage to report on the item.
    """

    event: ItemEvent | None
    next_job: NextT | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Work(Generic[JobT, NextT]):
    """What distinguishes one stage from another."""

    queue: Queue
    running: State
    """The state an item is in while its job is handled."""
    decode: Callable[[bytes], Sequence[JobT]]
    handle: Callable[[JobT], Awaitable[Outcome[NextT]]]
    dropped: Callable[[JobT], Awaitable[None]]
    """Told of each job that is given up unhandled, so that what it holds is given back."""
    wanted: Callable[[Sequence[JobT]], Awaitable[Sequence[JobT]]]
    """Asked about a redelivered message: which of its jobs are still to be done."""
    slots: int
    """Jobs handled at the same time."""
    turn: Turn[JobT] | None = None
    """What a job has to wait for before it is handled, instead of a slot; any of those that wait may be the next."""
    ahead: int = 0
    """Messages in hand beyond the slots, for jobs that wait for their turn."""
    policy: RetryPolicy = field(default_factory=RetryPolicy)


class JobFailed(Exception):
    """A handler's failure at an item of which it knows more than its job did; the facts' own failure is not read."""

    def __init__(self, error: PipelineError, facts: Facts, keys: tuple[str, ...] = ()) -> None:
        super().__init__(str(error))
        self.error = error
        self.facts = facts
        self.keys = keys
        """The blobs that the facts speak of."""


class StageBroken(Exception):
    """No job can be handled any more: raised by a handler, it ends the stage, and its jobs are handed back."""


class Stage(Generic[JobT, NextT]):
    """Runs one kind of work until it is stopped."""

    def __init__(self, broker: Broker, work: Work[JobT, NextT], outbox: Outbox[NextT]) -> None:
        self._broker = broker
        self._work = work
        self._outbox = outbox
        self._slots = Places(work.slots)
        self._prefetched = 0
        self._changed = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._handling: dict[asyncio.Task[Any], str] = {}
        """Running tasks that a cancellation of their batch may break off, with the batch's id."""
        self._waiting: set[asyncio.Task[Any]] = set()
        """Those of them whose turn has not come."""
        self._following: set[asyncio.Task[None]] = set()
        """Markers that wait for what was taken up before them."""
        self._hand = Hand[JobT]()
        self._cancelled: set[str] = set()
        self._clock = asyncio.get_running_loop().time
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, stop: asyncio.Event, grace_s: float) -> None:
        """Work until `stop` is set, then give running jobs `grace_s` seconds; the rest is handed back.

        Everything that was finished by then is published and acknowledged before this returns. Raises what the
        stage broke of, in an exception group.
        """
        async with (
            AsyncExitStack() as consumers,
            self._broker.listen() as broadcasts,
            self._outbox,
            asyncio.TaskGroup() as loops,
        ):
            heeding = loops.create_task(self._heed(broadcasts), name=f"{self._work.queue} listener")
            telling = loops.create_task(self._tell_of_long_jobs(), name=f"{self._work.queue} signs of life")
            stopping = loops.create_task(stop.wait())
            taking: list[asyncio.Task[None]] = []
            ends = (self._broken, self._outbox.publishing)
            try:
                while not any(end.done() for end in (stopping, *ends)):
                    taking += await self._prefetch_for_all_slots(consumers, loops)
                    await self._end_or_change((stopping, *ends))
                for end in ends:
                    if end.done():
                        end.result()
            finally:
                stopping.cancel()
                for task in (*taking, *self._following):
                    task.cancel()
                await self._finish(grace_s)
                heeding.cancel()
                telling.cancel()

    async def _prefetch_for_all_slots(
        self, consumers: AsyncExitStack, loops: asyncio.TaskGroup
    ) -> Sequence[asyncio.Task[None]]:
        """Open a consumer for slots that no consumer prefetches for: a consumer's prefetch can't be changed."""
        missing = self._work.slots + self._work.ahead - self._prefetched
        if missing <= 0:
            return ()
        deliveries = await consumers.enter_async_context(self._broker.consume(self._work.queue, missing))
        self._prefetched += missing
        return (loops.create_task(self._take(deliveries), name=f"{self._work.queue} consumer"),)

    async def _end_or_change(self, ends: Sequence[asyncio.Future[Any]]) -> None:
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait((*ends, changed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            self._changed.clear()

    def retune(self, *, slots: int | None = None, policy: RetryPolicy) -> None:
        """Handle so many jobs at the same time from now on, and decide on further attempts by this policy."""
        slots = slots or self._work.slots
        self._slots.resize(slots)
        self._work = replace(self._work, slots=slots, policy=policy)
        self._changed.set()

    async def _take(self, deliveries: AsyncIterator[Delivery]) -> None:
        async for delivery in deliveries:
            jobs = await self._read(delivery)
            if jobs is None:
                continue
            if not jobs and marker_in(delivery.body) is not None:
                self._follow(delivery)
                continue
            if delivery.redelivered:
                metrics.REDELIVERED.add(self._work.queue)
                jobs = await self._only_wanted(jobs)
            if not jobs:
                await delivery.ack()
                strike(Point.JOBS_ACKNOWLEDGED)
            message = Message(delivery, len(jobs))
            for job in jobs:
                # In hand at once, though it may wait long for its turn: otherwise nobody would be told of it.
                if in_hand := self._hand.take(job, message, self._clock()):
                    task = asyncio.create_task(self._attempt(job, in_hand))
                    self._running.add(task)
                    task.add_done_callback(self._ended)

    def _follow(self, marker: Delivery) -> None:
        """Send a marker on when everything is out that was taken up before it."""
        following = asyncio.create_task(self._send_on(marker, frozenset(self._running)))
        self._following.add(following)
        following.add_done_callback(self._following.discard)

    async def _send_on(self, marker: Delivery, ahead: frozenset[asyncio.Task[None]]) -> None:
        if ahead:
            await asyncio.wait(ahead)
        self._outbox.forward(marker.body, done=marker.ack)

    async def _read(self, delivery: Delivery) -> Sequence[JobT] | None:
        """The jobs of a message; None when nobody can read it, which is told and dealt with."""
        try:
            return self._work.decode(delivery.body)
        except Exception as error:  # whatever is in it: the next message is none the worse
            log.error(
                "A message of %d bytes on %s can't be read (%s); it goes to the dead letters.",
                len(delivery.body),
                self._work.queue,
                type(error).__name__,
                extra={"action": "message_rejected"},
            )
            await delivery.reject()
            strike(Point.JOBS_ACKNOWLEDGED)
            return None

    async def _only_wanted(self, jobs: Sequence[JobT]) -> Sequence[JobT]:
        try:
            wanted = await self._work.wanted(jobs)
        except Exception as error:  # a job done twice changes nothing; a consumer that stands still does
            log.warning("Nobody could say which of %d redelivered jobs are wanted (%s).", len(jobs), error)
            return jobs
        for job in jobs:
            if job not in wanted:
                await self._work.dropped(job)
        return wanted

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        # A job whose outcome is lost would never end: better the whole stage does, and what it held is handed back.
        if not task.cancelled() and (error := task.exception()) and not self._broken.done():
            self._broken.set_exception(error)

    async def _attempt(self, job: JobT, in_hand: InHand[JobT]) -> None:
        if job.batch_id in self._cancelled:
            await self._give_up(job, in_hand)
            return
        done = partial(self._hand.out, in_hand)
        try:
            outcome = await self._handle(job, in_hand.messages[0].trace)
            strike(Point.JOB_HANDLED)
        except asyncio.CancelledError:
            await self._give_up(job, in_hand if job.batch_id in self._cancelled else None)
            return
        except StageBroken:
            await self._work.dropped(job)
            raise
        except JobFailed as failure:
            outcome = Outcome(self._failed(job, failure.error, failure.facts), keys=failure.keys)
        except Exception as error:  # whatever else a handler raises becomes the item's failure: nothing else stops
            self._outbox.tell(self._failed(job, error), done=done)
            return
        self._outbox.put(
            (job.batch_id, job.index),
            outcome.event,
            outcome.next_job,
            outcome.keys,
            trace=in_hand.messages[0].trace,
            done=done,
            failed=lambda error: self._failed(job, error),
        )

    async def _announce(self, job: JobT) -> None:
        event = self._at_work(job)
        if job.claim < SUSPECT_CLAIMS:
            self._outbox.announce(event)
        else:
            # Should this worker die of it, the store must know that the item had been begun.
            await self._outbox.publish(event)

    def _at_work(self, job: JobT) -> ItemEvent:
        # With what is known of the item: told of together, this event outranks the one that brought it.
        return ItemEvent(job.batch_id, job.index, job.attempt, self._work.running, job.facts)

    async def _tell_of_long_jobs(self) -> None:
        while True:
            await asyncio.sleep(LIFE_S / 3)
            now = self._clock()
            for job in list(self._hand.untold(now - LIFE_S, now)):
                self._outbox.announce(self._at_work(job))

    async def _handle(self, job: JobT, trace: str) -> Outcome[NextT]:
        task = asyncio.current_task()
        assert task is not None
        # A task that is cancelled before its first step, or while it gives its job up, would not give the job back.
        self._handling[task] = job.batch_id
        try:
            async with self._turn_of(job, task):
                await self._announce(job)
                return await self._measured(job, trace)
        finally:
            del self._handling[task]

    async def _measured(self, job: JobT, trace: str) -> Outcome[NextT]:
        started = time.perf_counter()
        with (
            metrics.JOBS_IN_HAND.held(self._work.queue),
            traces.handled(self._work.queue, trace, job.batch_id, job.index, job.attempt),
        ):
            try:
                return await self._work.handle(job)
            finally:
                metrics.JOB_SECONDS.observe(time.perf_counter() - started, self._work.queue)

    @asynccontextmanager
    async def _turn_of(self, job: JobT, task: asyncio.Task[Any]) -> AsyncIterator[None]:
        self._waiting.add(task)
        try:
            async with self._slots if self._work.turn is None else self._work.turn(job):
                self._waiting.discard(task)
                yield
        finally:
            self._waiting.discard(task)

    async def _give_up(self, job: JobT, in_hand: InHand[JobT] | None) -> None:
        """Give back what a job holds; a cancelled batch's message counts as dealt with, any other is redelivered."""
        await self._work.dropped(job)
        if in_hand is not None:
            await self._hand.out(in_hand)

    def _failed(self, job: JobT, error: Exception, known: Facts | None = None) -> ItemEvent:
        if not isinstance(error, PipelineError):
            log.error("An unforeseen error, item %s/%d.", job.batch_id, job.index, exc_info=error)
        decision = decide(self._work.policy, job.attempt, error, random.random())
        facts = replace(known or job.facts, failure=decision.failure)
        if isinstance(error, PipelineError) and error.download_ms:
            facts = replace(facts, timings=Timings(download_ms=error.download_ms))
        if isinstance(decision, GiveUp):
            return ItemEvent(job.batch_id, job.index, job.attempt, State.FAILED, facts)
        return ItemEvent(job.batch_id, job.index, job.attempt, State.PENDING, facts, delay_s=decision.delay_s)

    async def _heed(self, broadcasts: AsyncIterator[bytes]) -> None:
        """Drop the work of batches that were cancelled."""
        async for body in broadcasts:
            batch_id = body.decode()
            self._cancelled.add(batch_id)
            for task, of_batch in self._handling.items():
                if of_batch == batch_id:
                    task.cancel()

    async def _finish(self, grace_s: float) -> None:
        for task in self._waiting:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        leftover = list(self._running)
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)
