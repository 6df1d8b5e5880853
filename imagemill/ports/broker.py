"""The conveyor: queues of small messages, acknowledged by the one who has dealt with them.

Promises, which `tests/contract/test_broker.py` proves on every adapter:

B1  A message is the broker's when `publish` has returned; if it raised, its fate is unknown and the same
    message may be published again.
B2  A message is delivered to one consumer at a time, at least once, until it is acknowledged.
B3  Messages of a queue are delivered in the order they were published, redeliveries aside.
B4  No consumer holds more unacknowledged messages than its prefetch.
B5  What a consumer leaves unacknowledged when it ends, or hands back, is delivered again, marked redelivered.
B6  A message handed back more often than the delivery limit goes to the queue's dead letters, in full.
B7  `epoch` names the life of the queues: when it changes, everything that was on them is gone.
B8  Waiting for the next message may be cancelled; no message is lost by it and the consumer lives on.
B9  A broadcast reaches every listener that was there before it, once; nobody else, and it may be lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

from imagemill.ports.unavailable import PartUnavailable

DELIVERY_LIMIT = 3
"""How often a message may be handed back before it is given up."""


class Queue(StrEnum):
    """The queues of the mill; each has a twin for dead letters, `<name>.dead`."""

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

    async def ack(self) -> None:
        """Tell the broker that the message has been dealt with."""

    async def hand_back(self) -> None:
        """Tell the broker to deliver the message again, to anyone."""


class Broker(Protocol):
    """The conveyor; see the module for its promises."""

    @property
    def epoch(self) -> str:
        """The life of the work queues (B7)."""

    async def publish(self, queue: Queue, bodies: Sequence[bytes]) -> None:
        """Put messages on a queue (B1). Raises `BrokerUnavailable`."""

    def consume(self, queue: Queue, prefetch: int) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Open a consumer; leaving the context ends it (B5)."""

    async def broadcast(self, body: bytes) -> None:
        """Tell every listener (B9). Raises `BrokerUnavailable`."""

    def listen(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a listener for broadcasts."""

    async def dead_letters(self, queue: Queue) -> Sequence[bytes]:
        """Take the dead letters of a queue (B6)."""


class BrokerUnavailable(PartUnavailable):
    """The broker can't be reached; what was being published may or may not have arrived."""
