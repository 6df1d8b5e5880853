"""Which hosts' items are claimed, and how far is looked for others than those of a slow one."""

from __future__ import annotations

import pytest

import storage_svc.choosing
from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.adapters.sql.unit import SqlUnit
from imagemill.domain.items import State
from imagemill.ports.records import Claim, NewItem, Place
from storage_svc.choosing import Chooser
from storage_svc.claims import ClaimLimits, claim_items
from storage_svc.fold import fold
from tests.support.builders import assert_counters_equal_rows, event, new_batch, new_items, put_batch

WINDOW = 128
LOOK = 100


@pytest.fixture(autouse=True)
def short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_svc.choosing, "LOOK", LOOK)


class Claims:
    """Claims of one batch `b`, by one store."""

    def __init__(self, records: SqliteRecords) -> None:
        self._records = records
        self._chooser = Chooser()
        self._asked = 0

    async def next(self, most: int = WINDOW) -> list[int]:
        """The indexes of what is claimed now."""
        self._asked += 1
        claim, limits = Claim(f"t{self._asked}", "e", 60.0), ClaimLimits(max_items=most, window=WINDOW, least=1)
        claimed = await claim_items(self._records, self._chooser, claim, limits, 0.0, lease_s=60.0)
        return [item.index for part in claimed for item in part.items]

    async def done(self, indexes: list[int]) -> None:
        """Let items succeed."""
        await fold(self._records, [event(index, State.SUCCEEDED) for index in indexes], 1.0)


async def claims_of(records: SqliteRecords, items: list[NewItem]) -> Claims:
    await put_batch(records, new_batch(), items)
    return Claims(records)


def slow(indexes: range) -> list[NewItem]:
    return new_items(indexes, host="slow.test")


async def test_a_host_alone_has_the_whole_window(records: SqliteRecords) -> None:
    claims = await claims_of(records, new_items(range(200)))

    assert await claims.next() == list(range(128))
    await claims.done(list(range(40)))
    assert await claims.next() == list(range(128, 168))


async def test_one_that_fills_the_head_of_a_list_leaves_half_of_the_window_to_what_stands_behind(
    records: SqliteRecords,
) -> None:
    claims = await claims_of(records, [*slow(range(150)), *new_items(range(150, 1_000))])

    assert await claims.next() == [*range(64), *range(150, 182)]
    # The second one has half of what was left; as it moves on, it gets all that the slow one has not.
    for first in range(150, 350, 50):
        await claims.done(list(range(first, first + 50)))
        taken = await claims.next()
        assert taken
        assert min(taken) >= 150
    await assert_counters_equal_rows(records)


async def test_a_long_head_is_passed_over_look_by_look(records: SqliteRecords) -> None:
    claims = await claims_of(records, [*slow(range(1_000)), *new_items(range(1_000, 1_020))])

    taken = [await claims.next() for _ in range(12)]

    assert taken[0] == list(range(64))
    assert taken[1] == []
    # Once nobody else has anything to do, the slow one may have the rest.
    assert [each for each in taken[1:] if each] == [[*range(64, 108), *range(1_000, 1_020)]]


async def test_what_was_passed_over_is_taken_as_its_host_moves_on(records: SqliteRecords) -> None:
    claims = await claims_of(records, [*slow(range(150)), *new_items(range(150, 1_000))])
    await claims.next()

    await claims.done(list(range(60)))

    assert set(range(64, 84)) <= set(await claims.next())


async def test_the_same_stretch_is_not_looked_at_twice(records: SqliteRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    due_hosts = SqlUnit.due_hosts

    async def noted(self: SqlUnit, batch_id: str, now: float, after: Place, limit: int) -> list[tuple[Place, str]]:
        looked.append(after[1])
        return await due_hosts(self, batch_id, now, after, limit)

    monkeypatch.setattr(SqlUnit, "due_hosts", noted)
    claims = await claims_of(records, [*slow(range(450)), *new_items(range(450, 1_000))])
    await claims.next()
    for first in range(450, 930, 20):
        await claims.done(list(range(first, first + 20)))
        await claims.next()

    assert looked[:2] == [127, 383]
    assert min(looked[2:]) >= 449
    assert looked[2:] == sorted(looked[2:])


async def test_a_first_portion_asks_nothing_about_hosts(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked_hosts(self: SqlUnit, batch_id: str) -> dict[str, int]:
        raise AssertionError("a hundred small batches would ask it with each claim")

    claims = await claims_of(records, slow(range(1_000)))
    await claims.next(WINDOW // 2)
    monkeypatch.setattr(SqlUnit, "asked_hosts", asked_hosts)
    await put_batch(records, new_batch("small"), new_items(range(100)))

    assert await claims.next(16) == list(range(16))


async def test_behind_several_slow_hosts_others_are_found(records: SqliteRecords) -> None:
    items = [item for n in range(3) for item in new_items(range(300 * n, 300 * n + 300), host=f"slow-{n}.test")]
    claims = await claims_of(records, [*items, *new_items(range(900, 1_000))])

    taken = [index for _ in range(60) for index in await claims.next()]

    assert {index // 300 for index in taken} == {0, 1, 2, 3}
