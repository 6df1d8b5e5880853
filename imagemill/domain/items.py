"""An item's life: its states in order, what is known of it, and what an event does to it.

    PENDING → QUEUED → DOWNLOADING → DOWNLOADED → PROCESSING → SUCCEEDED | FAILED | SKIPPED | CANCELLED

Within an attempt any forward skip is legal and nothing moves back, so events may come late, twice or out of
order. A retry is a new attempt of the same row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from imagemill.domain.failures import Failure, FailureCode, is_of_the_bytes


class State(IntEnum):
    """Where an item stands; a larger number is further on. The numbers are those of the API."""

    PENDING = 1
    QUEUED = 2
    DOWNLOADING = 3
    DOWNLOADED = 4
    PROCESSING = 5
    SUCCEEDED = 6
    FAILED = 7
    SKIPPED = 8
    CANCELLED = 9

    @property
    def is_final(self) -> bool:
        """Whether nothing but the user's wish moves an item out of this state."""
        return self >= State.SUCCEEDED

    @property
    def is_in_flight(self) -> bool:
        """Whether the item is somewhere on the conveyor or with a worker."""
        return State.QUEUED <= self <= State.PROCESSING


IN_FLIGHT_STATES = tuple(state for state in State if state.is_in_flight)


@dataclass(frozen=True, slots=True)
class Original:
    """What is known of a downloaded picture; width and height as displayed, 0 until it was decoded."""

    sha256: str
    size_bytes: int
    format: str
    http_status: int = 0
    width: int = 0
    height: int = 0
    mode: str = ""
    exif: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    key: str = ""
    """The key in the blob store; empty unless originals are kept."""
    tries: int = 0
    """Tries of the download that brought it, quick retries included."""
    undecodable_key: str = ""
    """The key under which its bytes were put aside because they can't be decoded; empty if they weren't."""


@dataclass(frozen=True, slots=True)
class Render:
    """One stored picture made of an original."""

    variant: str
    key: str
    format: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Timings:
    """How long the parts of an attempt took, in milliseconds; 0 for a part that did not take place."""

    download_ms: float = 0.0
    decode_ms: float = 0.0
    resize_ms: float = 0.0
    encode_ms: float = 0.0
    store_ms: float = 0.0
    cpu_ms: float = 0.0
    """CPU time of decoding, resizing and encoding."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything an event knows of its item.

    Facts travel and are stored as one block: a block of a newer attempt replaces the older one, single
    columns are never merged from different tries.
    """

    failure: Failure | None = None
    original: Original | None = None
    renders: tuple[Render, ...] = ()
    timings: Timings | None = None


@dataclass(frozen=True, slots=True)
class ItemEvent:
    """Something that happened to an item in an attempt (counted from 0).

    State PENDING asks for another attempt in `delay_s` seconds; `outside_budget` says that the wait is the
    mill's own doing (an original that is gone) and costs no attempt.
    """

    batch_id: str
    index: int
    attempt: int
    state: State
    facts: Facts = Facts()
    delay_s: float = 0.0
    outside_budget: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Batch id and index: which item this is about."""
        return (self.batch_id, self.index)


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a row that decides whether an event moves it."""

    state: State
    attempt: int
    claims: int = 0


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item as a reader sees it."""

    batch_id: str
    index: int
    source: str
    source_row: int
    head: Head
    facts: Facts
    duplicate_of: int | None
    revision: int
    finished_at: float | None


SUSPECT_CLAIMS = 3
"""An item claimed this often in one attempt may be what stops its workers: it travels alone, and it is announced before
it is begun."""

MAX_CLAIMS = 10
"""An item that was started and not heard of again this often takes its workers down; it fails."""

ABANDONED = Failure(
    FailureCode.ABANDONED,
    f"The item was taken up {MAX_CLAIMS} times and its worker was never heard of again; it may be what stops them.",
)

UNDELIVERABLE = Failure(
    FailureCode.ABANDONED,
    "The queues gave the item up after several deliveries: whoever took it up was not heard of again.",
)

_LOST_ORIGINAL = Failure(
    FailureCode.INTERNAL, "The downloaded original was lost again and again before it could be rendered."
)


def advance(head: Head, event: ItemEvent) -> Head | None:
    """The row's new head after an event, or None when the event changes nothing.

    Final rows stay, older attempts are ignored, states only grow; PENDING is the one way back, into the
    next attempt. `claims` bounds the moves that cost no attempt.
    """
    if head.state.is_final or event.attempt < head.attempt:
        return None
    if event.state is State.PENDING:
        if event.outside_budget:
            state = State.FAILED if head.claims >= MAX_CLAIMS else State.PENDING
            return None if head.state is State.PENDING else Head(state, head.attempt, head.claims)
        return Head(State.PENDING, event.attempt + 1, 0)
    if event.attempt == head.attempt and (event.state <= head.state or _is_late(head, event)):
        return None
    return Head(event.state, event.attempt, head.claims)


def _is_late(head: Head, event: ItemEvent) -> bool:
    """Whether an event tells of work on a row that waits: it is on no queue, and in flight nobody would claim it."""
    return head.state is State.PENDING and event.state.is_in_flight


def is_sign_of_life(head: Head, event: ItemEvent) -> bool:
    """Whether an event tells of nothing new, but that somebody still has the item in hand."""
    in_flight = head.state.is_in_flight and event.state.is_in_flight
    # A row that was further already, whose original was lost, is downloaded again and stays where it was.
    return in_flight and event.attempt == head.attempt and event.state <= head.state


def facts_after(head: Head, event: ItemEvent) -> Facts:
    """The facts to store with a head that `advance` returned for the event."""
    facts = event.facts
    if event.outside_budget and head.state is State.FAILED:
        return Facts(failure=facts.failure or _LOST_ORIGINAL)
    if head.state is State.PENDING and facts.failure and is_of_the_bytes(facts.failure.code):
        # Bytes that came wrong are not rendered again: they are downloaded again.
        return replace(facts, original=None)
    return facts


def reduce_events(events: Iterable[ItemEvent]) -> dict[tuple[str, int], ItemEvent]:
    """One event per item: the furthest of its newest attempt.

    An event that another one outranks could only have moved the row to a place that the other one moves it
    past. Two runs of one attempt may disagree (a redelivery); then a final state outranks the wish for
    another attempt, and success outranks failure.
    """
    furthest: dict[tuple[str, int], ItemEvent] = {}
    for event in events:
        known = furthest.get(event.key)
        if known is None or _rank(event) > _rank(known):
            furthest[event.key] = event
    return furthest


def _rank(event: ItemEvent) -> tuple[int, int]:
    if event.state.is_final:
        return (event.attempt, 100 + (State.CANCELLED - event.state))
    if event.state is State.PENDING:
        return (event.attempt, 50)
    return (event.attempt, event.state)
