"""Pause, resume, cancel."""

from __future__ import annotations

import grpc
import pytest

from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.failures import Failure, FailureCode
from imagemill.domain.items import Facts, Head, State
from imagemill.ports.records import NewItem
from imagemill.runtime.calls import CallError
from storage_svc import control
from storage_svc.control import retry_failed, set_state, sweep_cancelled
from storage_svc.fold import fold
from tests.support.builders import (
    BROKEN,
    GONE,
    assert_counters_equal_rows,
    batch_of,
    claim_rows,
    counted,
    event,
    move,
    new_batch,
    new_items,
    original,
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


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        (BatchState.PAUSED, "Batch 'b' is COMPLETED; only one that is ACTIVE can be paused."),
        (BatchState.ACTIVE, "Batch 'b' is COMPLETED; only one that is PAUSED can be resumed."),
        (
            BatchState.CANCELLING,
            "Batch 'b' is COMPLETED; only one that is RECEIVING or ACTIVE or PAUSED can be cancelled.",
        ),
    ],
)
async def test_a_refusal_says_when_it_would_be_possible(
    records: SqliteRecords, wish: BatchState, sentence: str
) -> None:
    await put(records, BatchState.COMPLETED)

    with pytest.raises(CallError) as refused:
        await set_state(records, "b", wish, NOW)

    assert refused.value.message == sentence


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


async def test_failed_items_are_tried_again_on_request_in_their_next_attempt(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CHUNK", 2)
    await put_batch(records, new_batch(), new_items(range(7)))
    await claim_rows(records, range(7))
    with_bytes = event(0, State.FAILED, facts=Facts(BROKEN, original(5)))
    await fold(records, [with_bytes, *(event(index, State.FAILED) for index in range(1, 6))], NOW)
    await fold(records, [event(6, State.SUCCEEDED)], NOW)
    assert (await batch_of(records)).state is BatchState.COMPLETED

    batch, retried = await retry_failed(records, "b", [], NOW + 1)

    assert (batch.state, batch.finished_at, retried) == (BatchState.ACTIVE, None, 6)
    rows = await rows_of(records)
    assert {row.head for row in rows[:6]} == {Head(State.PENDING, 1, 0)}
    assert rows[6].head.state is State.SUCCEEDED
    await assert_counters_equal_rows(records)

    # What the first attempt may still have to say comes too late.
    assert await fold(records, [event(index, State.SUCCEEDED, 0) for index in range(6)], NOW + 2) == set()


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        (FailureCode.CONTENT_TRUNCATED, False),
        (FailureCode.DECODE_FAILED, False),
        (FailureCode.RENDER_TIMEOUT, True),
        (FailureCode.STORE_FULL, True),
    ],
)
async def test_an_original_that_was_kept_is_downloaded_again_if_it_is_what_was_wrong(
    records: SqliteRecords, code: FailureCode, kept: bool
) -> None:
    new = new_batch()
    new.keep_originals = True
    await put_batch(records, new, new_items(range(1)))
    await claim_rows(records, range(1))
    facts = Facts(Failure(code, "It failed."), original(5, key="batches/b/originals/x"))
    await fold(records, [event(0, State.FAILED, facts=facts)], NOW)

    await retry_failed(records, "b", [], NOW)

    async with records.write() as unit:
        (due,) = await unit.due_items("b", NOW, 1, in_flight=False)
    assert (due.original is not None) == kept


async def test_only_failures_with_the_codes_named_are_tried_again(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, range(2))
    await fold(records, [event(0, State.FAILED), event(1, State.FAILED, facts=Facts(BROKEN))], NOW)

    _, retried = await retry_failed(records, "b", [BROKEN.code], NOW)

    assert retried == 1
    assert [row.head.state for row in await rows_of(records)] == [State.FAILED, State.PENDING]


async def test_an_item_whose_source_is_no_url_stays_failed(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), [NewItem(0, "no url", 1, "", State.FAILED, GONE)])

    batch, retried = await retry_failed(records, "b", [], NOW)

    assert (batch.state, retried) == (BatchState.ACTIVE, 0)


@pytest.mark.parametrize("state", [BatchState.RECEIVING, BatchState.CANCELLING, BatchState.CANCELLED])
async def test_nothing_is_tried_again_in_a_batch_that_is_received_or_given_up(
    records: SqliteRecords, state: BatchState
) -> None:
    await put(records, state)

    with pytest.raises(CallError) as refused:
        await retry_failed(records, "b", [], NOW)

    assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS")


async def test_other_batches_are_not_swept(records: SqliteRecords) -> None:
    for batch_id, state in (("active", BatchState.ACTIVE), ("paused", BatchState.PAUSED)):
        await put_batch(records, new_batch(batch_id, state), new_items(range(2)))

    assert await sweep_cancelled(records, NOW) == set()


async def test_cancelling_a_batch_whose_items_are_all_final_ends_it_at_once(records: SqliteRecords) -> None:
    async with records.write() as unit:
        await unit.insert_batch(new_batch())

    assert (await set_state(records, "b", BatchState.CANCELLING, NOW)).state is BatchState.CANCELLED


async def test_a_batch_whose_sender_is_gone_can_be_cancelled_and_is_then_over(records: SqliteRecords) -> None:
    async with records.write() as unit:
        batch = new_batch(state=BatchState.RECEIVING)
        await unit.insert_batch(batch)
        await unit.insert_items("b", new_items(range(3)), 1, NOW)
        batch.counts.add(State.PENDING, 3)
        batch.revision += 3
        await unit.save_batch(batch)

    await set_state(records, "b", BatchState.CANCELLING, NOW)
    assert await sweep_cancelled(records, NOW) == {"b"}

    assert (await batch_of(records)).state is BatchState.CANCELLED
    assert {row.head.state for row in await rows_of(records)} == {State.CANCELLED}
    await assert_counters_equal_rows(records)
