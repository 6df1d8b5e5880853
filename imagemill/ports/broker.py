"""The conveyor: queues of small messages, acknowledged by the one who has dealt with them.

Promises, which `tests/contract/test_broker.py` proves on every adapter, and B11 `test_broker_rabbitmq.py`, since a
broker in this process is never away:

B1  A message is the broker's when `publish` has returned; if it raised, its fate is unknown and the same
    message may be published again.
B2  A message is delivered to one consumer at a time, at least once, until it is acknowledged.
B3  Messages of a queue are delivered in the order they were published, redeliveries aside.
B4  No consumer holds more unacknowledged messages than its prefetch.
B5  What a consumer leaves unacknowledged when it ends, or hands back, is delivered again, marked redelivered.
B6  A message handed back more often than the delivery limit, or rejected, goes to the queue's dead letters, in full.
B7  `epoch` names the life of the queues: when it changes, everything that was on them is gone. Which of two is the
    later one can't be told from their names.
B8  Waiting for the next message may be cancelled; no message is lost by it and the consumer lives on.
B9  A broadcast reaches every listener that was there before it, once; nobody else, and it may be lost.
B10 Dead letters are consumed like any queue, and never given up: a rejected one is buried, where it can be looked at
    and stays until it is redriven.
B11 While the broker is away consumers and listeners wait; when it is back they go on by themselves, and what they
    held is delivered again (B5). Acknowledging it then does nothing.
B12 A message's trace context arrives with it.
B13 `depths` counts the messages that wait, and none that is in a consumer's hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from imagemill.ports.unavailable import PartUnavailable

DELIVERY_LIMIT = 3
"""How often a message may be handed back before it is given up."""


class Queue(StrEnum):
    """The queues of the mill; each has a twin for dead letters, `<name>.dead`, and one for buried, `<name>.buried`."""

    DOWNLOAD = "imagemill.download"
    PROCESS = "imagemill.process"
    EVENTS = "imagemill.events"


class Delivery(Protocol):
    """A message in a consumer's hand."""

    @property
    def body(self) -> bytes:
        """The message."""

    @property
    def redelivered(self) -> bool:
        """Whether it may have been delivered before."""

    @property
    def trace(self) -> str:
        """The W3C `traceparent` it was published with; empty when there was none (B12)."""

    async def ack(self) -> None:
        """Tell the broker that the message has been dealt with."""

    async def hand_back(self) -> None:
        """Tell the broker to deliver the message again, to anyone."""

    async def reject(self) -> None:
        """Tell the broker that nobody can deal with the message (B6, B10)."""


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter that nobody could deal with."""

    queue: Queue
    """The queue it was published to."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages wait on a queue, among its dead letters, and buried."""

    waiting: int
    dead: int
    buried: int


class Broker(Protocol):
    """The conveyor; see the module for its promises."""

    @property
    def epoch(self) -> str:
        """The life of the work queues (B7). Raises `BrokerUnavailable` while it is not known for certain."""

    @property
    def gather_s(self) -> float:
        """How long it pays to gather what is to be published after the last time, in seconds."""

    async def publish(self, queue: Queue, bodies: Sequence[bytes], *, trace: str = "") -> None:
        """Put messages on a queue (B1), with a W3C `traceparent` (B12). Raises `BrokerUnavailable`."""

    def consume(
        self, queue: Queue, prefetch: int, *, dead: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Open a consumer of a queue, or of its dead letters (B10); leaving the context ends it (B5)."""

    async def broadcast(self, body: bytes) -> None:
        """Tell every listener (B9). Raises `BrokerUnavailable`."""

    def listen(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a listener for broadcasts."""

    async def buried(self, limit: int) -> Sequence[Buried]:
        """Look at what is buried, at most `limit` a queue (B10). Raises `BrokerUnavailable`."""

    async def redrive(self) -> int:
        """Publish what is buried again, each to its queue; returns how many. Raises `BrokerUnavailable`."""

    async def depths(self) -> Mapping[Queue, Depth]:
        """How many messages wait (B13). Raises `BrokerUnavailable`."""

    async def check(self) -> None:
        """See whether messages can be published and consumed now. Raises `BrokerUnavailable` that says why not."""


class BrokerUnavailable(PartUnavailable):
    """The broker can't be used; what was being published may or may not have arrived."""
