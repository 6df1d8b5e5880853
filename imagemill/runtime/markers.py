"""Markers: messages that ride the queues behind the jobs, and tell that everything before them has been taken up.

The store sends one down `imagemill.download` when items in flight were not heard of for a lease. Each stage sends it on
when whatever it had taken up before it is out; from the last one it comes back among the events. A queue that is long,
or that nobody consumes, holds it back: so what waits there is never taken for lost, and what is lost is found when the
queues have moved past it.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagemill.v1 import messages_pb2


@dataclass(frozen=True, slots=True)
class Marker:
    """Follows everything that was heard of until a moment, on the queues of an epoch."""

    epoch: str
    heard_until: float
    """Seconds since the epoch of clocks, by the store's."""

    def encode(self) -> bytes:
        """The message."""
        return messages_pb2.Marker(epoch=self.epoch, heard_until=self.heard_until).SerializeToString()


def marker_in(body: bytes) -> Marker | None:
    """The marker that a message without jobs or events is; None when it is none."""
    message = messages_pb2.Marker.FromString(body)
    return Marker(message.epoch, message.heard_until) if message.epoch else None
