"""Claims: what is handed to the conveyor, how much of it, and how it comes back."""

from __future__ import annotations

import pytest

from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.items import ABANDONED, MAX_CLAIMS, Facts, Head, State
from imagemill.ports.records import Claim
from storage_svc.choosing import Chooser
from storage_svc.claims import (
    Claimed,
    ClaimLimits,
    claim_items,
    claimed_before,
    enter_epoch,
    prolong_claims,
    release_claims,
)
from storage_svc.fold import fold
from tests.support.builders import (
    assert_counters_equal_rows,
    batch_of,
    claim_rows,
    event,
    new_batch,
    new_items,
    original,
    put_batch,
    rows_of,
)

LEASE_S = 60.0


async def claim(
    records: SqliteRecords, token: str = "t", *, epoch: str = "e", now: float = 0.0, most: int = 100,
    window: int = 100, least: int = 1,
) -> list[Claimed]:  # fmt: skip
    return await claim_items(
        records,
        Chooser(),
        Claim(token, epoch, now + LEASE_S),
        ClaimLimits(max_items=most, window=window, least=least),
        now,
        lease_s=LEASE_S,
    )


def indexes(claimed: list[Claimed]) -> dict[str, list[int]]:
    return {part.batch.id: [item.index for item in part.items] for part in claimed}


async def test_due_items_are_claimed_in_order_and_counted(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(5)))

    assert indexes(await claim(records, most=3)) == {"b": [0, 1, 2]}
    assert indexes(await claim(records, "next", most=3)) == {"b": [3, 4]}

    rows, batch = await rows_of(records), await batch_of(records)
    assert {row.head for row in rows} == {Head(State.QUEUED, 0, 1)}
    assert batch.counts[State.QUEUED] == 5
    assert batch.started_at == 0.0
    await assert_counters_equal_rows(records)


async def test_nothing_is_claimed_of_batches_that_are_not_active(records: SqliteRecords) -> None:
    for state in (BatchState.PAUSED, BatchState.CANCELLING):
        await put_batch(records, new_batch(state.name, state), new_items(range(2)))
    async with records.write() as unit:
        await unit.insert_batch(new_batch("receiving"))
        await unit.insert_items("receiving", new_items(range(2)), 1, 0.0)

    assert await claim(records) == []


async def test_no_more_is_in_flight_than_the_window(records: SqliteRecords) -> None:
    for batch_id in ("a", "b"):
        await put_batch(records, new_batch(batch_id), new_items(range(100)))
    for number in range(10):
        await claim(records, f"t{number}", most=7, window=20)

    in_flight = [(await batch_of(records, batch_id)).counts.in_flight for batch_id in ("a", "b")]
    assert in_flight == [10, 10]


async def test_room_too_small_to_be_worth_a_claim_is_left_until_there_is_more(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(100)))
    await claim(records, window=20)

    await fold(records, [event(index, State.SUCCEEDED) for index in range(4)], 1.0)
    assert await claim(records, "early", window=20, least=5) == []
    await fold(records, [event(4, State.SUCCEEDED)], 1.0)
    assert indexes(await claim(records, "later", window=20, least=5)) == {"b": [20, 21, 22, 23, 24]}


async def test_the_last_few_items_are_claimed_however_few_they_are(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))

    assert indexes(await claim(records, window=100, least=25)) == {"b": [0, 1]}


async def test_a_small_batch_gets_its_place_while_a_large_one_fills_the_window(records: SqliteRecords) -> None:
    await put_batch(records, new_batch("large"), new_items(range(500)))
    await claim(records, "first", window=100)
    await fold(records, [event(index, State.SUCCEEDED, batch_id="large") for index in range(30)], 1.0)
    await put_batch(records, new_batch("small", created_at=2.0), new_items(range(10)))

    assert indexes(await claim(records, "second", window=100))["small"] == list(range(10))
    in_flight = (await batch_of(records, "large")).counts.in_flight
    assert in_flight <= 75


async def test_however_many_small_batches_come_no_more_is_claimed_at_once_than_asked_for(
    records: SqliteRecords,
) -> None:
    for number in range(10):
        await put_batch(records, new_batch(f"small {number}"), new_items(range(20)))
    await claim(records, "first", most=10, window=200)

    claimed = await claim(records, "second", most=50, window=200)

    assert sum(len(part.items) for part in claimed) == 50


async def test_the_first_portion_of_a_small_batch_takes_no_turn_from_a_large_one(records: SqliteRecords) -> None:
    await put_batch(records, new_batch("large"), new_items(range(500)))
    await claim(records, "first", window=100)
    await fold(records, [event(index, State.SUCCEEDED, batch_id="large") for index in range(80)], 1.0)
    await put_batch(records, new_batch("small", created_at=2.0), new_items(range(10)))

    claimed = indexes(await claim(records, "second", most=50, window=100, least=50))

    assert (len(claimed["small"]), len(claimed["large"])) == (10, 40)


async def test_of_a_crowd_each_batch_gets_portions_in_its_turn(records: SqliteRecords) -> None:
    for number in range(40):
        await put_batch(records, new_batch(f"b{number:02}"), new_items(range(32)))
    claims: list[dict[str, list[int]]] = []
    for turn in range(1, 20):
        claimed = indexes(await claim(records, f"t{turn}", now=float(turn), most=256, window=256, least=64))
        done = [event(index, State.SUCCEEDED, batch_id=batch) for batch, items in claimed.items() for index in items]
        await fold(records, done, float(turn))
        claims += [claimed]

    # Every batch comes once before any comes again, and none is claimed by the item.
    assert [len(claimed) for claimed in claims[:3]] == [16, 16, 16]
    assert not set(claims[0]) & set(claims[1])
    assert len(set(claims[0]) | set(claims[1]) | set(claims[2])) == 40
    assert {len(items) for claimed in claims for items in claimed.values()} == {16}
    assert sum(len(items) for claimed in claims for items in claimed.values()) == 40 * 32


async def test_a_look_that_finds_nothing_to_claim_writes_nothing(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_batch(records, new_batch("full"), new_items(range(200)))
    await claim(records, "first", window=100)
    await put_batch(records, new_batch("waits for a retry"), new_items([0]))
    await claim(records, "its", window=100)
    await fold(records, [event(0, State.PENDING, batch_id="waits for a retry")], 1.0)
    monkeypatch.setattr(records, "write", None)

    assert await claim(records, "second", now=2.0, window=100, least=10) == []


async def test_a_token_that_is_repeated_returns_the_same_items(records: SqliteRecords) -> None:
    for batch_id in ("a", "b"):
        await put_batch(records, new_batch(batch_id), new_items(range(3)))
    first = await claim(records, "mine", most=4)
    before = await rows_of(records, "a"), await rows_of(records, "b")

    again = await claimed_before(records, "mine", LEASE_S, 1.0)

    assert indexes(again) == indexes(first)
    assert [part.items for part in again] == [part.items for part in first]
    assert (await rows_of(records, "a"), await rows_of(records, "b")) == before
    assert await claimed_before(records, "another's", LEASE_S, 1.0) == []


async def test_an_item_whose_lease_has_ended_is_claimed_again_and_counted(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim(records)
    await fold(records, [event(0, State.PROCESSING)], 1.0)

    assert await claim(records, "early", now=LEASE_S - 1) == []
    (part,) = await claim(records, "late", now=LEASE_S)

    assert [item.head for item in part.items] == [Head(State.PROCESSING, 0, 2), Head(State.QUEUED, 0, 2)]
    await assert_counters_equal_rows(records)


async def test_an_item_that_ends_its_claims_unheard_of_is_abandoned(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    for number in range(MAX_CLAIMS):
        assert indexes(await claim(records, f"t{number}", now=number * LEASE_S)) == {"b": [0]}
        await fold(records, [event(0, State.DOWNLOADING)], number * LEASE_S)

    now = MAX_CLAIMS * LEASE_S
    assert indexes(await claim(records, "one too many", now=now)) == {"b": []}

    (row,) = await rows_of(records)
    assert (row.head, row.facts, row.finished_at) == (Head(State.FAILED, 0, MAX_CLAIMS), Facts(ABANDONED), now)
    assert (await batch_of(records)).state is BatchState.COMPLETED
    await assert_counters_equal_rows(records)


async def test_an_item_that_was_never_started_is_not_to_blame_for_the_deaths_around_it(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items([0]))

    for number in range(2 * MAX_CLAIMS):
        assert indexes(await claim(records, f"t{number}", now=number * LEASE_S)) == {"b": [0]}


async def test_a_mill_that_slept_past_its_leases_claims_nothing_twice(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim(records, "before the sleep")
    async with records.write() as unit:
        await unit.confirm("before the sleep", 1.0)

    assert await claim(records, "after it", now=100 * LEASE_S) == []


async def test_what_was_stored_of_an_abandoned_item_counts_as_downloaded(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    await claim_rows(records, [0], claims=MAX_CLAIMS, lease_until=0.0)
    stored = Facts(original=original(1, key="batches/b/originals/x"))
    await fold(records, [event(0, State.DOWNLOADED, facts=stored)], 1.0)

    await claim(records, now=1.0)

    assert (await batch_of(records)).downloaded_bytes == 1001
    await assert_counters_equal_rows(records)


async def test_a_new_attempt_begins_with_its_claims_uncounted(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    await claim(records)
    await fold(records, [event(0, State.PENDING)], 1.0)

    assert await claim(records, "early", now=2.9) == []
    (part,) = await claim(records, "due", now=3.0)

    assert part.items[0].head == Head(State.QUEUED, 1, 1)


async def test_a_claim_tells_what_is_stored_already(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    await claim(records)
    stored = original(1, key="batches/b/originals/x")
    await fold(records, [event(0, State.DOWNLOADED, facts=Facts(original=stored))], 1.0)

    (part,) = await claim(records, "again", now=LEASE_S)

    assert part.items[0].original == stored


async def test_claims_of_the_latest_queues_are_prolonged_and_earlier_ones_are_due(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(3)))
    await enter_epoch(records, "e2", 0.0)
    for index, epoch in enumerate(("e1", "e2")):
        await claim_rows(records, [index], token=epoch, epoch=epoch, lease_until=LEASE_S)
        async with records.write() as unit:
            await unit.confirm(epoch, 0.0)

    await prolong_claims(records, LEASE_S, 5.0)

    (part,) = await claim(records, "again", epoch="e2", now=LEASE_S + 1.0)
    assert [(item.index, item.head.claims) for item in part.items] == [(0, 2), (2, 1)]


async def test_what_another_epoch_had_in_flight_is_due_at_once_and_the_rest_is_not(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    await claim(records, "old", epoch="before", most=2)
    await claim(records, "new", epoch="now", most=1)

    assert await release_claims(records, "now", other_epochs=True) == 2

    (part,) = await claim(records, "again", epoch="now", now=5.0)
    # The waiting item comes too; of those in flight only the old epoch's.
    assert [(item.index, item.head.claims) for item in part.items] == [(0, 2), (1, 2), (3, 1)]


async def test_what_is_handed_back_at_a_stop_is_due_at_once_and_was_not_counted(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim(records, epoch="now")

    assert await release_claims(records, "now", other_epochs=False) == 2

    (part,) = await claim(records, "again", epoch="next", now=5.0)
    assert [item.head for item in part.items] == [Head(State.QUEUED, 0, 1)] * 2


async def test_releasing_reaches_paused_batches_too(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    await claim(records)
    async with records.write() as unit:
        (batch,) = (await unit.batches(["b"])).values()
        batch.state = BatchState.PAUSED
        await unit.save_batch(batch)

    assert await release_claims(records, "another", other_epochs=True) == 1


@pytest.mark.parametrize("number", [1, 3])
async def test_every_claimed_row_takes_a_revision_of_its_own(records: SqliteRecords, number: int) -> None:
    await put_batch(records, new_batch(), new_items(range(number)))
    before = (await batch_of(records)).revision

    await claim(records)

    changed = await records.changed_items("b", before, 1000, 10)
    assert [row.revision for row in changed] == [before + n for n in range(1, number + 1)]


async def test_a_lease_is_prolonged_only_for_what_was_published(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, [0], token="published", epoch="e", lease_until=LEASE_S)
    await claim_rows(records, [1], token="never published", epoch="e", lease_until=LEASE_S)
    async with records.write() as unit:
        await unit.confirm("published", 1.0)
        await unit.extend_leases("e", 3 * LEASE_S, 20.0)

    assert indexes(await claim(records, "again", now=LEASE_S)) == {"b": [1]}
