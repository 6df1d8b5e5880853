"""What becomes of messages that the queues gave up: dealt with once more, or buried where people see them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from imagemill import codec
from imagemill.domain.items import UNDELIVERABLE, ItemEvent, State
from imagemill.ports.broker import Broker, Delivery, Queue
from imagemill.ports.unavailable import PartUnavailable
from imagemill.runtime import metrics
from imagemill.runtime.in_hand import Job
from imagemill.runtime.markers import marker_in
from imagemill.strikes import Point, strike
from imagemill.v1 import messages_pb2

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""How long to wait for a part that is away, in seconds."""

RESUBMIT_S = 10.0
"""How long an item waits that its queue gave up, in seconds: what took its workers down may pass."""


class DeadLetters:
    """Deals with the dead letters of one queue, one by one."""

    def __init__(self, broker: Broker, queue: Queue, deal: Callable[[bytes], Awaitable[None]]) -> None:
        """`deal` may raise `PartUnavailable` to be asked again; whatever else it raises buries the letter."""
        self._broker = broker
        self._queue = queue
        self._deal = deal

    async def run(self) -> None:
        """Consume until cancelled."""
        async with self._broker.consume(self._queue, 1, dead=True) as letters:
            async for letter in letters:
                await self._deal_with(letter)

    async def _deal_with(self, letter: Delivery) -> None:
        while True:
            try:
                await self._deal(letter.body)
                strike(Point.DEAD_LETTER_SETTLED)
                await letter.ack()
                strike(Point.DEAD_LETTER_ACKNOWLEDGED)
                metrics.DEAD_LETTERS.add(self._queue, "again")
                log.warning("A dead letter of %s was taken up again.", self._queue, extra={"action": "dead_letter"})
                return
            except PartUnavailable as error:
                log.warning("A dead letter of %s waits: %s.", self._queue, error)
                await asyncio.sleep(RETRY_S)
            except Exception as error:  # nothing in a letter may stop those behind it
                log.error(
                    "A dead letter of %s, %d bytes, can't be dealt with and is buried (%s).",
                    self._queue,
                    len(letter.body),
                    type(error).__name__,
                    extra={"action": "dead_letter_buried"},
                )
                await letter.reject()
                strike(Point.DEAD_LETTER_ACKNOWLEDGED)
                metrics.DEAD_LETTERS.add(self._queue, "buried")
                return


def resubmit(broker: Broker, decode: Callable[[bytes], Sequence[Job]]) -> Callable[[bytes], Awaitable[None]]:
    """Deals with a dead message of jobs: its items wait a while and are claimed again, at no cost of an attempt.

    Their claims are counted, so those that do this to their workers again and again travel alone, then fail.
    """

    async def deal(body: bytes) -> None:
        events = [codec.event_message(_again(job)) for job in decode(body)]
        if not events:
            if marker_in(body) is not None:
                return  # what it was to follow is followed by the next one
            raise ValueError("a message without a job")
        await broker.publish(Queue.EVENTS, [messages_pb2.ItemEvents(events=events).SerializeToString()])
        strike(Point.DEAD_LETTER_SETTLED)

    return deal


def _again(job: Job) -> ItemEvent:
    facts = replace(job.facts, failure=UNDELIVERABLE)
    return ItemEvent(
        job.batch_id, job.index, job.attempt, State.PENDING, facts, delay_s=RESUBMIT_S, outside_budget=True
    )
