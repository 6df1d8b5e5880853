"""What goes wrong in a course of events, written down before it begins: a seed makes a list of mishaps."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

ROLES = ("gateway", "downloader", "processor", "storage")
HORIZON_S = 4.0
"""When the last mishap begins; a batch that nothing happens to takes about two seconds."""
PUBLISHES = 30
CALLS = 40


class Mishap(StrEnum):
    """What may happen to a message, to a call, or at a moment."""

    DROP = "the message is lost, though it was confirmed"
    DUPLICATE = "the message arrives twice"
    OVERTAKE = "the message overtakes all that wait"
    LATE = "the message arrives late"
    UNKNOWN_ARRIVED = "the confirmation is lost"
    UNKNOWN_LOST = "the message and its confirmation are lost"
    REPLY_LOST = "the call is done and its answer lost"
    CALL_LOST = "the call does not arrive"
    CRASH = "the process dies"
    PURGE = "the queues of jobs are emptied, and live on"
    WIPE = "the broker loses everything it has"
    PAUSE = "the owner pauses the batch for a while"
    CANCEL = "the owner cancels the batch"


OF_MESSAGES = (
    Mishap.DROP, Mishap.DUPLICATE, Mishap.OVERTAKE, Mishap.LATE, Mishap.UNKNOWN_ARRIVED, Mishap.UNKNOWN_LOST,
)  # fmt: skip
OF_CALLS = (Mishap.REPLY_LOST, Mishap.CALL_LOST)


@dataclass(frozen=True, slots=True)
class Event:
    """A mishap, and when: at the n-th message or call, or so many seconds after the start."""

    mishap: Mishap
    at: float
    lasts_s: float = 0.0
    role: str = ""

    def __str__(self) -> str:
        if self.mishap in OF_MESSAGES:
            when = f"message {self.at:g}"
        elif self.mishap in OF_CALLS:
            when = f"call {self.at:g}"
        else:
            when = f"{self.at:6.3f} s"
        lasts = f", for {self.lasts_s:.3f} s" if self.lasts_s else ""
        return f"{when}: {self.role + ': ' if self.role else ''}{self.mishap.value}{lasts}"


@dataclass(frozen=True, slots=True)
class Item:
    """What an item has in it, and what stands in its way; by the attempt, so that a repeat finds the same."""

    content: int
    bad_downloads: int = 0
    """The first attempts fail in downloading, and another one may help."""
    bad_renders: int = 0
    """So many attempts behind those fail in rendering."""
    gone: bool = False
    """Its download fails for good in the attempt that would succeed."""
    broken: bool = False
    """Its rendering does."""
    lost_originals: int = 0
    """So often its original is gone before it is rendered."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One course of events."""

    seed: int
    items: Sequence[Item]
    events: Sequence[Event]

    def __str__(self) -> str:
        items = "\n".join(f"  item {index}: {item}" for index, item in enumerate(self.items))
        return f"seed {self.seed}\n{items}\n" + "\n".join(f"  {event}" for event in self.events)


def schedule_of(seed: int) -> Schedule:
    """The course of events of a seed; of every tenth nothing goes wrong."""
    chance = random.Random(seed)
    items = [_item(chance) for _ in range(chance.randint(2, 6))]
    events = sorted(_events(chance), key=lambda event: event.at) if seed % 10 else []
    return Schedule(seed, items, events)


def _item(chance: random.Random) -> Item:
    luck = chance.random()
    return Item(
        content=chance.randrange(3),
        bad_downloads=chance.choice((0, 0, 0, 1, 2, 4)),
        bad_renders=chance.choice((0, 0, 0, 0, 1)),
        gone=luck < 0.1,
        broken=0.1 <= luck < 0.2,
        lost_originals=chance.choice((0, 0, 0, 0, 1, 2)),
    )


def _events(chance: random.Random) -> Iterator[Event]:
    for _ in range(chance.randint(0, 4)):
        mishap = chance.choice(OF_MESSAGES)
        yield Event(mishap, chance.randint(1, PUBLISHES), chance.uniform(0.1, 3.0) if mishap is Mishap.LATE else 0.0)
    for _ in range(chance.randint(0, 3)):
        yield Event(chance.choice(OF_CALLS), chance.randint(1, CALLS))
    for _ in range(chance.randint(0, 4)):
        yield Event(Mishap.CRASH, chance.uniform(0.0, HORIZON_S), chance.uniform(0.0, 3.0), chance.choice(ROLES))
    if chance.random() < 0.15:
        yield Event(Mishap.WIPE, chance.uniform(0.0, HORIZON_S))
    if chance.random() < 0.2:
        yield Event(Mishap.PURGE, chance.uniform(0.0, HORIZON_S))
    if chance.random() < 0.1:
        yield Event(Mishap.PAUSE, chance.uniform(0.0, HORIZON_S), chance.uniform(0.1, 3.0))
    if chance.random() < 0.08:
        yield Event(Mishap.CANCEL, chance.uniform(0.0, HORIZON_S))
