"""Random storms over the whole life of a batch: claims, lost work, leases that end, duplicates, disorder.

The model of the truth is small: what each item has in it, what its rows were before, and what a watcher was told.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.items import ABANDONED, Facts, ItemEvent, ItemRow, State
from imagemill.ports.records import Claim
from storage_svc.choosing import Chooser
from storage_svc.claims import Claimed, ClaimLimits, claim_items, release_claims
from storage_svc.fold import fold
from tests.support.builders import (
    assert_counters_equal_rows,
    batch_of,
    event,
    new_batch,
    new_items,
    put_batch,
    rows_of,
    success,
)

ITEMS = 24
WINDOW = 10
LEASE_S = 20.0


@dataclass(slots=True)
class Storm:
    """A world that loses, repeats and reorders what it is given."""

    records: SqliteRecords
    chance: random.Random
    contents: list[int]
    calm: bool = False
    now: float = 0.0
    revision: int = 0
    under_way: list[ItemEvent] = field(default_factory=list)
    before: dict[int, ItemRow] = field(default_factory=dict)
    watched: dict[int, ItemRow] = field(default_factory=dict)

    async def work(self, number: int) -> None:
        """Claim what is due and let workers run on it; some of them die at some point."""
        limits = ClaimLimits(max_items=WINDOW, window=WINDOW, least=1)
        claim = Claim(f"token-{number}", f"epoch-{number // 5}", self.now + LEASE_S)
        for part in await claim_items(self.records, Chooser(), claim, limits, self.now, lease_s=LEASE_S):
            self._run(part)
        await self.look()
        assert (await batch_of(self.records)).counts.in_flight <= WINDOW

    def _run(self, part: Claimed) -> None:
        for item in part.items:
            happened = self._events(item.index, item.head.attempt)
            if not self.calm:
                happened = happened[: self.chance.randint(0, len(happened))]
                happened += [each for each in happened if self.chance.random() < 0.3]
            self.under_way += happened

    def _events(self, index: int, attempt: int) -> list[ItemEvent]:
        states = (State.DOWNLOADING, State.DOWNLOADED, State.PROCESSING)
        advisory = [event(index, state, attempt) for state in states if self.chance.random() < 0.7]
        return [*advisory, self._outcome(index, attempt)]

    def _outcome(self, index: int, attempt: int) -> ItemEvent:
        luck = self.chance.random()
        if luck < 0.2 and not self.calm:
            return ItemEvent("b", index, attempt, State.PENDING, outside_budget=True)
        if luck < 0.5 and attempt < 3:
            return event(index, State.PENDING, attempt)
        if self.contents[index] < 0:
            return event(index, State.FAILED, attempt)
        return event(index, State.SUCCEEDED, attempt, facts=success(self.contents[index]))

    async def deliver(self) -> None:
        """Fold what is under way in groups of any size and order, some of it later."""
        self.chance.shuffle(self.under_way)
        while self.under_way and (self.calm or self.chance.random() < 0.8):
            size = self.chance.randint(1, 6)
            group, self.under_way = self.under_way[:size], self.under_way[size:]
            await fold(self.records, group, self.now)
            await self.look()

    async def look(self) -> None:
        """Compare the rows with what they were, with the counters, and with what a watcher knows."""
        batch = await batch_of(self.records)
        after = {row.index: row for row in await rows_of(self.records)}
        for index, row in after.items():
            _assert_moved_on(self.before.get(index), row)
        told = await self.records.changed_items("b", self.revision, batch.revision, 10_000)
        self.watched |= {row.index: row for row in told}
        self.before, self.revision = after, batch.revision
        assert self.watched == after
        assert {row.index: row.duplicate_of for row in after.values()} == _lowest_twins(after)
        await assert_counters_equal_rows(self.records)


def _assert_moved_on(before: ItemRow | None, after: ItemRow) -> None:
    if before is None or before == after:
        return
    assert after.revision > before.revision
    assert after.head.attempt >= before.head.attempt
    if before.head.state.is_final:
        # Whose twin it is may become known later; nothing else of a final row ever changes.
        assert (after.head, after.facts, after.finished_at) == (before.head, before.facts, before.finished_at)
    elif after.head.attempt == before.head.attempt and after.head.state is not State.PENDING:
        assert after.head.state >= before.head.state


def _lowest_twins(rows: dict[int, ItemRow]) -> dict[int, int | None]:
    lowest: dict[str, int] = {}
    twins: dict[int, int | None] = dict.fromkeys(rows)
    for index, row in sorted(rows.items()):
        if row.head.state is State.SUCCEEDED and row.facts.original is not None:
            first = lowest.setdefault(row.facts.original.sha256, index)
            twins[index] = None if first == index else first
    return twins


@pytest.mark.parametrize("seed", range(8))
async def test_through_any_storm_rows_only_move_forward_and_counters_revisions_and_twins_are_true(
    records: SqliteRecords, seed: int
) -> None:
    chance = random.Random(seed)
    await put_batch(records, new_batch(), new_items(range(ITEMS)))
    storm = Storm(records, chance, [chance.randrange(-2, 6) for _ in range(ITEMS)])
    await storm.look()

    for number in range(40):
        storm.calm = number >= 20
        await storm.work(number)
        await storm.deliver()
        storm.now += chance.choice([0.5, 3.0, LEASE_S + 1])
        if number % 5 == 4:
            await release_claims(records, f"epoch-{number // 5 + 1}", other_epochs=True)

    assert (await batch_of(records)).state is BatchState.COMPLETED
    for row in await rows_of(records):
        _assert_true_end(row, storm.contents[row.index])


def _assert_true_end(row: ItemRow, content: int) -> None:
    if row.head.state is State.SUCCEEDED:
        assert row.facts == success(content)
    elif row.facts != Facts(failure=ABANDONED):
        assert row.head.state is State.FAILED
        assert content < 0 or row.head.claims >= 10
