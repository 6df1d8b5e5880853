"""Pause, resume, cancel."""

from __future__ import annotations

import grpc
import pytest

from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.items import State
from imagemill.runtime.calls import CallError
from storage_svc import control
from storage_svc.control import set_state, sweep_cancelled
from tests.support.builders import (
    assert_counters_equal_rows,
    batch_of,
    claim_rows,
    counted,
    move,
    new_batch,
    new_items,
    put_batch,
    rows_of,
)

NOW = 5.0
WISHES = (BatchState.PAUSED, BatchState.ACTIVE, BatchState.CANCELLING)
ALLOWED = {
    (BatchState.RECEIVING, BatchState.CANCELLING),
    (BatchState.ACTIVE, BatchState.PAUSED),
    (BatchState.ACTIVE, BatchState.CANCELLING),
    (BatchState.PAUSED, BatchState.ACTIVE),
    (BatchState.PAUSED, BatchState.CANCELLING),
}
REPEATS = {(state, state) for state in WISHES} | {(BatchState.CANCELLED, BatchState.CANCELLING)}


async def put(records: SqliteRecords, state: BatchState) -> None:
    async with records.write() as unit:
        batch = new_batch(state=state)
        await unit.insert_batch(batch)
        await unit.insert_items("b", new_items(range(2)), 1, 0.0)
        batch.counts.add(State.PENDING, 2)
        batch.revision = 3
        await unit.save_batch(batch)


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("state", BatchState)
async def test_a_batch_goes_only_where_its_state_allows(
    records: SqliteRecords, state: BatchState, wish: BatchState
) -> None:
    await put(records, state)

    if (state, wish) in ALLOWED:
        assert (await set_state(records, "b", wish, NOW)).state is wish
        assert (await batch_of(records)).revision == 4
    elif (state, wish) in REPEATS:
        assert (await set_state(records, "b", wish, NOW)).state is state
        assert (await batch_of(records)).revision == 3
    else:
        with pytest.raises(CallError) as refused:
            await set_state(records, "b", wish, NOW)
        assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS")
        assert (await batch_of(records)).state is state


async def test_a_batch_that_does_not_exist_is_not_found(records: SqliteRecords) -> None:
    with pytest.raises(CallError) as refused:
        await set_state(records, "b", BatchState.PAUSED, NOW)

    assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.NOT_FOUND, "BATCH_NOT_FOUND")


async def test_the_open_items_of_a_cancelled_batch_follow_in_chunks(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CHUNK", 4)
    await put_batch(records, new_batch(), new_items(range(10)))
    await claim_rows(records, range(3))
    async with records.write() as unit:
        (batch,) = (await unit.batches(["b"])).values()
        (head,) = (await unit.heads("b", [9])).values()
        batch.counts.move(State.PENDING, State.FAILED)
        batch.revision += 1
        await unit.move_items([move(9, type(head)(State.FAILED, 0), batch.revision)])
        await unit.save_batch(batch)
    await set_state(records, "b", BatchState.CANCELLING, NOW)

    assert await sweep_cancelled(records, NOW) == {"b"}
    assert (await batch_of(records)).counts[State.CANCELLED] == 4
    while await sweep_cancelled(records, NOW):
        await assert_counters_equal_rows(records)

    batch, rows = await batch_of(records), await rows_of(records)
    assert (batch.state, batch.finished_at) == (BatchState.CANCELLED, NOW)
    assert counted(row.head.state for row in rows)[State.CANCELLED] == 9
    assert rows[9].head.state is State.FAILED
    assert all(row.finished_at is not None for row in rows)


async def test_other_batches_are_not_swept(records: SqliteRecords) -> None:
    for batch_id, state in (("active", BatchState.ACTIVE), ("paused", BatchState.PAUSED)):
        await put_batch(records, new_batch(batch_id, state), new_items(range(2)))

    assert await sweep_cancelled(records, NOW) == set()


async def test_cancelling_a_batch_whose_items_are_all_final_ends_it_at_once(records: SqliteRecords) -> None:
    async with records.write() as unit:
        await unit.insert_batch(new_batch())

    assert (await set_state(records, "b", BatchState.CANCELLING, NOW)).state is BatchState.CANCELLED
