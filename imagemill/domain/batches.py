"""A batch: its states, its counts as a fold over moves of items, and how fast it goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from imagemill.domain.items import IN_FLIGHT_STATES, State


class BatchState(IntEnum):
    """Where a batch stands. The numbers are those of the API."""

    RECEIVING = 1
    ACTIVE = 2
    PAUSED = 3
    CANCELLING = 4
    COMPLETED = 5
    CANCELLED = 6

    @property
    def is_final(self) -> bool:
        """Whether every item is final and nothing more will happen."""
        return self >= BatchState.COMPLETED


# Going through an enumeration takes ten times as long, and each claim and fold looks at every batch.
_STATES = tuple(State)
_FINAL_STATES = tuple(state for state in State if state.is_final)


class Counts:
    """How many items stand in each state. Changes only by moves of rows that moved, so nothing counts twice."""

    __slots__ = ("_by_state",)

    def __init__(self, by_state: Mapping[State, int] | None = None) -> None:
        self._by_state = dict.fromkeys(_STATES, 0) | dict(by_state or {})

    def __getitem__(self, state: State) -> int:
        return self._by_state[state]

    def __iter__(self) -> Iterator[tuple[State, int]]:
        return iter(self._by_state.items())

    def add(self, state: State, number: int = 1) -> None:
        """Count new rows."""
        self._by_state[state] += number

    def move(self, old: State, new: State, number: int = 1) -> None:
        """Count rows that went from `old` to `new`."""
        self._by_state[old] -= number
        self._by_state[new] += number

    @property
    def total(self) -> int:
        """All items."""
        return sum(self._by_state.values())

    @property
    def final(self) -> int:
        """Items that are done with."""
        return sum(map(self._by_state.__getitem__, _FINAL_STATES))

    @property
    def in_flight(self) -> int:
        """Items on the conveyor or with a worker."""
        return sum(map(self._by_state.__getitem__, IN_FLIGHT_STATES))


@dataclass(slots=True)
class Batch:
    """A batch as the store keeps it; times are seconds since the epoch."""

    id: str
    state: BatchState
    recipe: str
    """Canonical JSON."""
    recipe_fingerprint: str
    display_name: str = ""
    client_id: str = ""
    request_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 10
    keep_originals: bool = False
    keep_undecodable: bool = False
    revision: int = 0
    counts: Counts = field(default_factory=Counts)
    dispatched: int = 0
    """How often an item was put in flight that was not."""
    downloaded_bytes: int = 0
    duplicates: int = 0
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    active_s: float = 0.0
    """Time worked on it: gaps longer than `LONGEST_GAP_S` between changes count as that much."""
    changed_at: float = 0.0
    swept: bool = False
    """Whether everything in the blob store that none of its rows speaks of has been deleted, after its end."""
    trace: str = ""
    """The W3C `traceparent` of the call that opened it; empty when it is not traced."""

    def touch(self, now: float) -> None:
        """Book the time since the last change as worked."""
        if self.started_at is not None:
            self.active_s += min(max(now - self.changed_at, 0.0), LONGEST_GAP_S)
        self.changed_at = now

    def reopen(self, now: float) -> None:
        """Make a completed batch active, because items of it are to be tried again."""
        if self.state is BatchState.COMPLETED:
            self.state = BatchState.ACTIVE
            self.finished_at = None
        self.changed_at = now

    def settle(self, now: float) -> None:
        """Make the batch final when its last item is."""
        if self.counts.final < self.counts.total or self.state is BatchState.RECEIVING or self.state.is_final:
            return
        cancelled = self.state is BatchState.CANCELLING
        self.state = BatchState.CANCELLED if cancelled else BatchState.COMPLETED
        self.finished_at = now
        self.swept = False
        self.revision += 1


LONGEST_GAP_S = 30.0
"""Longer silences are downtime of the mill, not work: the default deadline of one download."""


class RateMeter:
    """Items finished per second over the last `window_s` seconds."""

    def __init__(self, window_s: float = 15.0) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, int]] = deque()

    def record(self, now: float, finished: int) -> None:
        """Note that `finished` items were final at time `now`."""
        self._samples.append((now, finished))
        while len(self._samples) > 2 and self._samples[1][0] <= now - self._window_s:
            self._samples.popleft()

    def per_second(self) -> float:
        """The rate between the oldest and the newest sample; 0 with fewer than two."""
        if len(self._samples) < 2:
            return 0.0
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - start) if end > start else 0.0
