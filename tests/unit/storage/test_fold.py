"""The fold: what groups of events do to rows and counters."""

from __future__ import annotations

import itertools
import random

import pytest
from sqlalchemy import Engine
from sqlalchemy import event as happening

from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.failures import FailureCode
from imagemill.domain.items import Facts, Head, ItemEvent, State
from storage_svc.control import set_state, sweep_cancelled
from storage_svc.fold import fold
from tests.support.builders import (
    BROKEN,
    GONE,
    assert_counters_equal_rows,
    batch_of,
    claim_rows,
    event,
    new_batch,
    new_items,
    original,
    put_batch,
    rows_of,
    success,
)

NOW = 50.0


async def put_in_flight(records: SqliteRecords, number: int, batch_id: str = "b") -> None:
    await put_batch(records, new_batch(batch_id), new_items(range(number)))
    await claim_rows(records, range(number), batch_id=batch_id, token=f"t-{batch_id}")


async def test_a_final_event_moves_row_counters_bytes_and_revision(records: SqliteRecords) -> None:
    await put_in_flight(records, 2)
    before = await batch_of(records)

    changed = await fold(records, [event(0, State.SUCCEEDED)], NOW)

    assert changed == {"b"}
    row, other = await rows_of(records)
    assert (row.head, row.facts, row.finished_at) == (Head(State.SUCCEEDED, 0, 1), success(0), NOW)
    assert (other.head.state, other.finished_at) == (State.QUEUED, None)
    assert row.revision == (await batch_of(records)).revision == before.revision + 1
    await assert_counters_equal_rows(records)


async def test_an_event_seen_twice_counts_nothing_and_changes_nothing(records: SqliteRecords) -> None:
    await put_in_flight(records, 2)
    await fold(records, [event(0, State.SUCCEEDED)], NOW)
    before = (await rows_of(records), (await batch_of(records)).revision)

    assert await fold(records, [event(0, State.SUCCEEDED), event(0, State.PROCESSING)], NOW + 1) == set()

    assert (await rows_of(records), (await batch_of(records)).revision) == before


async def test_events_of_items_and_batches_that_do_not_exist_are_ignored(records: SqliteRecords) -> None:
    await put_in_flight(records, 1)

    assert await fold(records, [event(7, State.FAILED), event(0, State.FAILED, batch_id="gone")], NOW) == set()


async def test_a_group_may_speak_of_several_batches(records: SqliteRecords) -> None:
    for batch_id in ("b", "c"):
        await put_in_flight(records, 1, batch_id)

    changed = await fold(records, [event(0, State.FAILED), event(0, State.SUCCEEDED, batch_id="c")], NOW)

    assert changed == {"b", "c"}
    assert (await batch_of(records, "b")).counts[State.FAILED] == 1
    assert (await batch_of(records, "c")).counts[State.SUCCEEDED] == 1


async def test_a_retry_is_put_back_into_the_next_attempt_and_due_when_it_says(records: SqliteRecords) -> None:
    await put_in_flight(records, 1)

    await fold(records, [event(0, State.PENDING)], NOW)

    (row,) = await rows_of(records)
    assert (row.head, row.facts.failure) == (Head(State.PENDING, 1, 0), BROKEN)
    async with records.write() as unit:
        assert await unit.due_items("b", NOW + 1.9, 9, in_flight=False) == []
        assert [item.index for item in await unit.due_items("b", NOW + 2.0, 9, in_flight=False)] == [0]
    await assert_counters_equal_rows(records)


async def test_a_newer_attempts_facts_replace_all_of_an_older_ones(records: SqliteRecords) -> None:
    await put_in_flight(records, 1)
    await fold(records, [event(0, State.PENDING, facts=Facts(BROKEN, original(1)))], NOW)
    await claim_rows(records, [0], token="again")

    await fold(records, [event(0, State.FAILED, 1, facts=Facts(GONE))], NOW)

    (row,) = await rows_of(records)
    assert row.facts == Facts(GONE)


async def test_an_original_that_is_gone_is_downloaded_again_in_the_same_attempt(records: SqliteRecords) -> None:
    await put_in_flight(records, 1)

    await fold(records, [ItemEvent("b", 0, 0, State.PENDING, outside_budget=True)], NOW)

    (row,) = await rows_of(records)
    assert row.head == Head(State.PENDING, 0, 1)


async def test_a_stored_original_is_not_lost_from_the_row_while_its_item_is_worked_on(records: SqliteRecords) -> None:
    await put_in_flight(records, 1)
    stored = Facts(original=original(3, key="batches/b/originals/x"))

    await fold(records, [event(0, State.DOWNLOADED, facts=stored)], NOW)
    await fold(records, [event(0, State.PROCESSING)], NOW)

    (row,) = await rows_of(records)
    assert row.facts == stored


async def test_the_last_final_item_ends_the_batch(records: SqliteRecords) -> None:
    await put_in_flight(records, 2)

    await fold(records, [event(0, State.FAILED)], NOW)
    assert (await batch_of(records)).state is BatchState.ACTIVE
    await fold(records, [event(1, State.SUCCEEDED)], NOW + 1)

    batch = await batch_of(records)
    assert (batch.state, batch.finished_at) == (BatchState.COMPLETED, NOW + 1)
    assert batch.revision > max(row.revision for row in await rows_of(records))


async def test_a_paused_batch_takes_what_was_in_flight(records: SqliteRecords) -> None:
    await put_in_flight(records, 2)
    await set_state(records, "b", BatchState.PAUSED, NOW)

    await fold(records, [event(0, State.SUCCEEDED)], NOW)

    assert (await batch_of(records)).counts[State.SUCCEEDED] == 1


async def test_late_results_of_a_cancelled_batch_are_refused(records: SqliteRecords) -> None:
    await put_in_flight(records, 2)
    await set_state(records, "b", BatchState.CANCELLING, NOW)
    assert await fold(records, [event(0, State.SUCCEEDED)], NOW) == set()

    await sweep_cancelled(records, NOW)
    assert await fold(records, [event(0, State.SUCCEEDED)], NOW) == set()

    assert [row.head.state for row in await rows_of(records)] == [State.CANCELLED] * 2
    assert (await batch_of(records)).state is BatchState.CANCELLED
    await assert_counters_equal_rows(records)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_duplicates_point_to_the_lowest_index_whatever_the_order(
    records: SqliteRecords, order: tuple[int, ...]
) -> None:
    await put_in_flight(records, 4)
    for index in order:
        await fold(records, [event(index, State.SUCCEEDED, facts=success(7))], NOW)
        # Not a twin: it has the bytes, but no picture.
        await fold(records, [event(3, State.FAILED, facts=Facts(GONE, original(7)))], NOW)

    assert [row.duplicate_of for row in await rows_of(records)] == [None, 0, 0, None]
    await assert_counters_equal_rows(records)


async def test_when_a_lower_twin_comes_late_every_pointer_that_changes_gets_a_revision(records: SqliteRecords) -> None:
    await put_in_flight(records, 3)
    await fold(records, [event(index, State.SUCCEEDED, facts=success(7)) for index in (1, 2)], NOW)
    before = (await batch_of(records)).revision

    await fold(records, [event(0, State.SUCCEEDED, facts=success(7))], NOW)

    changed = await records.changed_items("b", before, 1000, 10)
    assert sorted((row.index, row.duplicate_of) for row in changed) == [(0, None), (1, 0), (2, 0)]
    assert (await batch_of(records)).duplicates == 2


async def test_an_original_lost_again_and_again_ends_as_a_failure(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    await claim_rows(records, [0], claims=10)

    await fold(records, [ItemEvent("b", 0, 0, State.PENDING, outside_budget=True)], NOW)

    (row,) = await rows_of(records)
    assert row.head.state is State.FAILED
    assert row.facts.failure is not None
    assert row.facts.failure.code is FailureCode.INTERNAL


@pytest.mark.parametrize("seed", range(6))
async def test_folded_singly_or_in_groups_the_rows_end_alike(records: SqliteRecords, seed: int) -> None:
    chance, number = random.Random(seed), 12
    told = [each for index in range(number) for each in _one_life(index, chance)]
    chance.shuffle(told)
    for batch_id, size in (("b", 1), ("c", 7)):
        await put_in_flight(records, number, batch_id)
        for start in range(0, len(told), size):
            group = [_of(batch_id, each) for each in told[start : start + size]]
            await fold(records, group, NOW)

    singly, grouped = await rows_of(records, "b"), await rows_of(records, "c")
    assert [(row.head.state, row.head.attempt, row.facts, row.duplicate_of) for row in singly] == [
        (row.head.state, row.head.attempt, row.facts, row.duplicate_of) for row in grouped
    ]
    assert all(row.head.state.is_final for row in singly)
    await assert_counters_equal_rows(records, "b")
    await assert_counters_equal_rows(records, "c")


def _one_life(index: int, chance: random.Random) -> list[ItemEvent]:
    """One run in each attempt, the last of them with an outcome; every event may be told twice."""
    last, content = chance.randrange(3), chance.randrange(4)
    told = []
    for attempt in range(last + 1):
        told += [event(index, state, attempt) for state in (State.DOWNLOADING, State.PROCESSING)]
        if attempt < last:
            told.append(event(index, State.PENDING, attempt))
    outcome = event(index, State.FAILED, last)
    if chance.random() < 0.7:
        outcome = event(index, State.SUCCEEDED, last, facts=success(content))
    told.append(outcome)
    return told + [each for each in told if chance.random() < 0.3]


def _of(batch_id: str, told: ItemEvent) -> ItemEvent:
    return ItemEvent(batch_id, told.index, told.attempt, told.state, told.facts, told.delay_s)


async def test_a_sign_of_life_is_heard_and_changes_nothing_that_a_reader_could_see(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, range(2), lease_until=NOW)
    await fold(records, [event(index, State.DOWNLOADING) for index in range(2)], NOW)
    async with records.write() as unit:
        await unit.confirm("t", NOW)
        await unit.enter_epoch("e", NOW)
        await unit.pass_marker("e", NOW + 10)
    before = await rows_of(records)

    assert await fold(records, [event(1, State.DOWNLOADING)], NOW + 20) == set()

    assert await rows_of(records) == before
    async with records.write() as unit:
        await unit.extend_leases("e", NOW + 100, NOW + 30)
        assert [item.index for item in await unit.due_items("b", NOW + 50, 9, in_flight=True)] == [0]


async def test_a_group_of_many_batches_takes_as_many_statements_as_one_of_a_single_batch(
    records: SqliteRecords,
) -> None:
    for number in range(21):
        await put_in_flight(records, 20, f"b{number:02}")
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    async def number_of(*events: ItemEvent) -> int:
        statements.clear()
        await fold(records, events, NOW)
        return len(statements)

    happening.listen(Engine, "before_cursor_execute", note)
    try:
        one = await number_of(*(event(index, State.SUCCEEDED, batch_id="b20") for index in range(20)))
        many = await number_of(*(event(0, State.SUCCEEDED, batch_id=f"b{number:02}") for number in range(20)))
    finally:
        happening.remove(Engine, "before_cursor_execute", note)

    assert one == many > 0
    for number in range(21):
        await assert_counters_equal_rows(records, f"b{number:02}")
