"""The truth: batches and items as rows, read and changed in transactions.

Promises, which `tests/contract/test_records.py` and `test_records_claims.py` prove on every adapter:

R1  A unit's writes become visible together when its context ends, or not at all when it ends with an error.
R2  Units that write the same batch follow one another; a unit sees what the one before it wrote.
R3  Inserting an item whose key exists changes nothing, and says so.
R4  Every change of an item that a reader could see carries a revision above all earlier ones of its batch, and
    becomes visible together with the batch's new revision.
R5  Due items come in the order of their due time, then of their index, never one that another claim holds.
R6  A unit whose caller is cancelled is rolled back and holds nothing: the next one goes on at once.
R7  Pages neither repeat nor leave out a row that did not change in between.
R8  A tally is of one moment: its sums are those of the batch's counters, whatever is written meanwhile.

Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from imagemill.domain.batches import Batch
from imagemill.domain.failures import Failure
from imagemill.domain.figures import Figures, Hosts
from imagemill.domain.items import Facts, Head, ItemRow, Original, State
from imagemill.ports.unavailable import PartUnavailable


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item as it enters the store: PENDING, or final at once when it has a failure or a reason to skip."""

    index: int
    source: str
    source_row: int
    host: str
    state: State
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A change of one item: its new head and revision, and facts unless what is stored shall stay."""

    batch_id: str
    index: int
    head: Head
    revision: int
    due_at: float
    finished_at: float | None
    facts: Facts | None
    heard_at: float = 0.0
    """When this was reported; 0 when it was not."""


@dataclass(frozen=True, slots=True)
class DueItem:
    """An item that wants work."""

    index: int
    source: str
    head: Head
    original: Original | None
    """What an earlier claim has stored durably; None when the item must be downloaded."""
    download_ms: float = 0.0
    """How long its download took."""
    host: str = ""
    """Whom its source names; empty when nobody."""
    due_at: float = field(default=0.0, compare=False)
    """Since when it wants work; a claim moves that."""


Place = tuple[float, int]
"""Where a waiting item stands in the order of R5: its due time and its index."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What an ACTIVE batch has for whoever claims."""

    batch_id: str
    priority: int
    waiting: int
    """Items that are PENDING, due or not."""
    in_flight: int
    to_render: int
    """Of those in flight, what is downloaded or being rendered."""
    dispatched: int
    """How often an item was put in flight that was not."""
    served_at: float
    """When it was last worked on; 0 when it never was."""
    due_at: float | None
    """When the first of its waiting items is due; None when none waits."""
    lease_ends_at: float | None
    """When the first of its items in flight is due again; None when none is in flight."""


RELEASED = 0.0
"""When an item in flight is due that was made so: before any that is due because its lease has ended."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Items handed to the conveyor together."""

    token: str
    epoch: str
    lease_until: float


@dataclass(frozen=True, slots=True)
class FailedItem:
    """A failed item that can be tried again."""

    head: Head
    size_bytes: int
    """Those of its original; 0 when there is none."""
    code: str
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A succeeded item with certain bytes."""

    index: int
    sha256: str
    duplicate_of: int | None


@dataclass(frozen=True, slots=True)
class Tally:
    """A batch, and the figures that its final items add up to at the same moment."""

    batch: Batch
    items: Figures
    hosts: Hosts


@dataclass(frozen=True, slots=True)
class Backlog:
    """Items that want work now, by what they want: to be downloaded, or what is stored of them to be rendered."""

    to_download: int = 0
    """Due; nobody has claimed them yet."""
    to_render: int = 0
    """Due, with a stored original."""
    downloading: int = 0
    """On the way to a downloader, or with one."""
    rendering: int = 0
    """On the way to a processor, or with one."""


@dataclass(frozen=True, slots=True)
class Waits:
    """What has waited longest, by the moment it began to; None where nothing waits."""

    due_since: float | None
    """The first item of an ACTIVE batch that is due and not claimed; a new one is due since its batch came."""
    claimed_since: float | None
    """The first claim that still holds something."""


class Unit(Protocol):
    """One transaction that writes (R1, R2). Locks batches by id, then items by key."""

    async def insert_batch(self, batch: Batch) -> None:
        """Add a batch; its id must be new."""

    async def batches(self, ids: Collection[str]) -> dict[str, Batch]:
        """The batches that exist, locked until the unit ends."""

    async def batch_of_request(self, request_id: str) -> Batch | None:
        """The batch that a request id opened."""

    async def working_batches(self) -> list[Batch]:
        """ACTIVE, PAUSED and CANCELLING batches, oldest first, locked until the unit ends."""

    async def batches_in_flight(self) -> list[Batch]:
        """Those of them that count items in flight, locked likewise; what only waits costs next to nothing."""

    async def cancelling_batches(self) -> list[Batch]:
        """CANCELLING batches, oldest first, locked until the unit ends."""

    async def save_batch(self, batch: Batch) -> None:
        """Write a batch's state, counts and revision."""

    async def save_batches(self, batches: Collection[Batch]) -> None:
        """Write the states, counts and revisions of several, at the cost of one."""

    async def insert_items(self, batch_id: str, items: Sequence[NewItem], revision: int, now: float) -> set[int]:
        """Add items, numbering revisions from `revision + 1`; the indexes that were new (R3)."""

    async def heads(self, batch_id: str, indexes: Collection[int]) -> dict[int, Head]:
        """The heads of the items that exist."""

    async def heads_of(self, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], Head]:
        """The heads of the items that exist, by batch id and index, of any number of batches."""

    async def move_items(self, moves: Sequence[Move]) -> None:
        """Write moves."""

    async def first_twins(self, batch_id: str, digests: Collection[str]) -> dict[str, list[int]]:
        """The lowest indexes, two at most, of succeeded items with each digest; more of them cost no more."""

    async def first_twins_of(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
        """The same by batch id and digest, of any number of batches."""

    async def twins(self, batch_id: str, digests: Collection[str]) -> list[Twin]:
        """The succeeded items with these digests, by digest and index."""

    async def point_duplicates(self, batch_id: str, changes: Sequence[tuple[int, int | None, int]]) -> None:
        """Write (index, duplicate_of, revision)."""

    async def due_items(self, batch_id: str, now: float, limit: int, *, in_flight: bool) -> list[DueItem]:
        """Items that are due (R5): those in flight whose lease has ended, or those that wait."""

    async def due_hosts(self, batch_id: str, now: float, after: Place, limit: int) -> list[tuple[Place, str]]:
        """The hosts of items that wait and are due, from behind a place on (R5); reads much less of each."""

    async def due_items_of(self, batch_id: str, indexes: Collection[int], now: float) -> list[DueItem]:
        """Those of the items that wait and are due (R5)."""

    async def asked_hosts(self, batch_id: str) -> dict[str, int]:
        """How many items in flight each host has that, as far as is known, are not downloaded yet."""

    async def claim(self, claim: Claim, batch_id: str, items: Sequence[tuple[int, Head, int]], now: float) -> None:
        """Write (index, head, revision) of claimed items, held until the claim's lease ends."""

    async def claimed(self, token: str) -> list[tuple[str, DueItem]]:
        """The items, with their batch id, that a claim of this token holds."""

    async def confirm(self, token: str, now: float) -> None:
        """Record that a claim was published."""

    async def renew(self, token: str, lease_until: float, now: float) -> None:
        """Prolong a claim, published or not; what it holds was heard of by that."""

    async def extend_leases(self, epoch: str, lease_until: float, now: float) -> None:
        """Prolong published claims of the epoch, and forget claims that hold nothing.

        Items are left out that the epoch's queues have moved past since they were heard of (`pass_marker`).
        """

    async def release(self, batch_id: str, *, epoch: str, other_epochs: bool) -> int:
        """Make items in flight due at once: those of the epoch, handed back uncounted, or those of all others."""

    async def enter_epoch(self, epoch: str, now: float) -> None:
        """Make an epoch the present one, also while nothing is claimed in it."""

    async def epochs(self) -> list[str]:
        """The epochs that were entered, the present one first; those long over are forgotten."""

    async def ask_for_marker(self, epoch: str, unheard_since: float, now: float) -> bool:
        """Whether a marker of the epoch is to be sent: for items in flight not heard of since, and if none was since.

        Whoever is told so is the only one.
        """

    async def pass_marker(self, epoch: str, heard_until: float) -> None:
        """Note that the epoch's queues have moved past everything that was heard of until then."""

    async def hear(self, batch_id: str, indexes: Collection[int], now: float) -> None:
        """Note that items in flight were heard of, though nothing about them has changed."""

    async def stored(self, batch_id: str, indexes: Collection[int]) -> set[int]:
        """Those of the items whose originals are stored durably."""

    async def digests_in_flight(self, batch_id: str, digests: Collection[str]) -> set[str]:
        """Those of the digests that items in flight are known by."""

    async def digests_without_pictures(self, batch_id: str, digests: Collection[str]) -> set[str]:
        """Those of the digests that items are known by which ended without pictures: failed, skipped or cancelled."""

    async def failed_items(
        self, batch_id: str, after: int, limit: int, codes: Collection[str]
    ) -> dict[int, FailedItem]:
        """Failed items that can be tried again, by index above `after`."""

    async def open_items(self, batch_id: str, limit: int) -> dict[int, tuple[Head, int]]:
        """Items not final, by index: their heads and their originals' bytes."""


class View(Protocol):
    """Reads, each consistent in itself."""

    async def batch(self, batch_id: str) -> Batch | None:
        """One batch."""

    async def batches(self, client_id: str, before: tuple[float, str] | None, limit: int) -> list[Batch]:
        """Batches, newest first, after the one with this creation time and id; all clients' when empty."""

    async def batches_at_work(self, client_id: str, ended_since: float) -> list[Batch]:
        """Batches that have not ended, and those that ended at a moment or after it, newest first.

        Those of all clients when `client_id` is empty. What ended before costs nothing.
        """

    async def unswept_batches(self, limit: int) -> list[Batch]:
        """Final batches that are not `swept`, in the order of their ends."""

    async def items(
        self, batch_id: str, after: int, limit: int, states: Collection[State] = (), codes: Collection[str] = ()
    ) -> list[ItemRow]:
        """Items by index, above `after` (R7)."""

    async def changed_items(
        self, batch_id: str, after_revision: int, up_to: int, limit: int, states: Collection[State] = ()
    ) -> list[ItemRow]:
        """Items by revision, above `after_revision` and not above `up_to`."""

    async def twin(self, batch_id: str, sha256: str) -> ItemRow | None:
        """The first succeeded item with these bytes."""

    async def backlog(self, now: float, limit: int) -> Backlog:
        """What wants work now in batches that are worked on; up to `limit` of what is due, and of what is in flight.

        What is final costs nothing.
        """

    async def prospects(self) -> list[Prospect]:
        """ACTIVE batches, oldest first; it costs no more with many items than with few, and locks nothing."""

    async def is_claim(self, token: str) -> bool:
        """Whether a claim of this token was made not long ago."""

    async def waits(self, now: float) -> Waits:
        """What has waited longest; it costs no more with many items that wait than with few."""

    async def tally(self, batch_id: str) -> Tally | None:
        """A batch in figures; reads every row, in flat memory (R8)."""


class Records(View, Protocol):
    """The truth; see the module for its promises."""

    def write(self) -> AbstractAsyncContextManager[Unit]:
        """Open a unit; raises `RecordsUnavailable` when the database is away."""

    async def check(self) -> None:
        """See whether it can be used now, its tables too. Raises `RecordsUnavailable` that says why not."""

    async def close(self) -> None:
        """Let go of the database."""


class RecordsUnavailable(PartUnavailable):
    """The database can't be reached, is locked for too long, or its disk is full."""
