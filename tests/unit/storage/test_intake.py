"""Intake: opened, filled in chunks, sealed; every step may be repeated."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import pytest

from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.items import State
from imagemill.ports.records import NewItem
from imagemill.runtime.calls import CallError
from storage_svc.control import set_state
from storage_svc.intake import append_items, open_batch, seal_batch
from tests.support.builders import assert_counters_equal_rows, batch_of, new_batch, new_items, rows_of

NOW = 5.0


async def receive(records: SqliteRecords, *chunks: Sequence[NewItem]) -> None:
    await open_batch(records, new_batch())
    for chunk in chunks:
        await append_items(records, "b", chunk, NOW)


async def test_a_batch_is_received_chunk_by_chunk_and_then_active(records: SqliteRecords) -> None:
    await receive(records, new_items([0, 1]), new_items([2]))
    assert (await batch_of(records)).state is BatchState.RECEIVING

    sealed = await seal_batch(records, "b", 3, NOW)

    assert sealed.state is BatchState.ACTIVE
    assert [row.index for row in await rows_of(records)] == [0, 1, 2]
    await assert_counters_equal_rows(records)


async def test_a_repeat_of_the_whole_intake_changes_nothing(records: SqliteRecords) -> None:
    await receive(records, new_items([0, 1]), new_items([2]))
    sealed = await seal_batch(records, "b", 3, NOW)
    before = await rows_of(records)

    assert (await open_batch(records, new_batch())).state is BatchState.ACTIVE
    for chunk in (new_items([0, 1]), new_items([2])):
        await append_items(records, "b", chunk, NOW + 1)
    again = await seal_batch(records, "b", 3, NOW + 1)

    assert (again.revision, await rows_of(records)) == (sealed.revision, before)
    await assert_counters_equal_rows(records)


async def test_an_intake_that_broke_off_is_continued(records: SqliteRecords) -> None:
    await receive(records, new_items([0, 1]))

    await receive(records, new_items([0, 1]), new_items([2, 3]))

    assert (await seal_batch(records, "b", 4, NOW)).counts.total == 4
    await assert_counters_equal_rows(records)


async def test_a_request_id_finds_the_batch_that_it_opened_whatever_id_is_wished(records: SqliteRecords) -> None:
    first = await open_batch(records, new_batch("b", request_id="r"))

    assert (await open_batch(records, new_batch("c", request_id="r"))).id == first.id
    assert await records.batch("c") is None


async def test_an_id_taken_by_a_batch_with_another_recipe_is_refused(records: SqliteRecords) -> None:
    await open_batch(records, new_batch())
    other = new_batch()
    other.recipe_fingerprint = "another"

    with pytest.raises(CallError) as refused:
        await open_batch(records, other)

    assert refused.value.code is grpc.StatusCode.ALREADY_EXISTS
    assert refused.value.reason == "BATCH_EXISTS"
    assert [field for field, _ in refused.value.fields] == ["spec.batch_id"]


async def test_a_sealed_batch_takes_no_more_items(records: SqliteRecords) -> None:
    await receive(records, new_items([0]))
    await seal_batch(records, "b", 1, NOW)

    with pytest.raises(CallError) as refused:
        await append_items(records, "b", new_items([0, 1]), NOW)

    assert refused.value.reason == "BATCH_SEALED"
    assert len(await rows_of(records)) == 1


async def test_a_batch_that_was_cancelled_while_it_was_received_says_so(records: SqliteRecords) -> None:
    await receive(records, new_items([0]))
    await set_state(records, "b", BatchState.CANCELLING, NOW)

    for step in (append_items(records, "b", new_items([1]), NOW), seal_batch(records, "b", 2, NOW)):
        with pytest.raises(CallError, match="was cancelled") as refused:
            await step
        assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS")


async def test_items_that_are_missing_keep_a_batch_from_being_sealed(records: SqliteRecords) -> None:
    await receive(records, new_items([0]))

    with pytest.raises(CallError) as refused:
        await seal_batch(records, "b", 2, NOW)

    assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.ABORTED, "ITEMS_MISSING")
    assert (await batch_of(records)).state is BatchState.RECEIVING


async def test_a_batch_without_work_is_complete_as_soon_as_it_is_sealed(records: SqliteRecords) -> None:
    await receive(records, new_items([0], State.FAILED), new_items([1], State.SKIPPED))

    sealed = await seal_batch(records, "b", 2, NOW)

    assert (sealed.state, sealed.finished_at) == (BatchState.COMPLETED, NOW)


async def test_an_empty_batch_is_complete_as_soon_as_it_is_sealed(records: SqliteRecords) -> None:
    await receive(records)

    assert (await seal_batch(records, "b", 0, NOW)).state is BatchState.COMPLETED


async def test_items_final_on_arrival_became_final_then(records: SqliteRecords) -> None:
    await receive(records, [*new_items([0], State.FAILED), *new_items([1], State.SKIPPED), *new_items([2])])

    assert [row.finished_at for row in await rows_of(records)] == [NOW, NOW, None]


async def test_a_batch_that_does_not_exist_is_not_found(records: SqliteRecords) -> None:
    for step in (append_items(records, "b", new_items([0]), NOW), seal_batch(records, "b", 1, NOW)):
        with pytest.raises(CallError) as refused:
            await step
        assert refused.value.code is grpc.StatusCode.NOT_FOUND
