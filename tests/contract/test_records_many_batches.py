"""Many batches in one statement: the same as each by itself."""

from __future__ import annotations

from dataclasses import fields

from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.items import Facts, Head, State
from imagemill.ports.records import Records
from tests.support.builders import GONE, batch_of, digest, move, new_batch, new_items, original, put_batch, success

DONE = Head(State.SUCCEEDED, 0)


async def test_heads_are_found_by_batch_and_index(records: Records) -> None:
    for batch_id in "ab":
        await put_batch(records, new_batch(batch_id), new_items(range(3)))
    async with records.write() as unit:
        await unit.move_items([move(1, Head(State.FAILED, 2, 1), 10, facts=Facts(GONE))])

    async with records.write() as unit:
        assert await unit.heads_of([("a", 1), ("b", 1), ("a", 7), ("none", 0)]) == {
            ("a", 1): Head(State.PENDING, 0, 0),
            ("b", 1): Head(State.FAILED, 2, 1),
        }
        assert await unit.heads_of([]) == {}


async def test_the_first_twins_are_those_of_their_own_batch_and_two_at_most(records: Records) -> None:
    for batch_id in "ab":
        await put_batch(records, new_batch(batch_id), new_items(range(9)))
    async with records.write() as unit:
        await unit.move_items([move(index, DONE, 10 + index, facts=success(7)) for index in (5, 3, 8)])
        await unit.move_items([move(4, DONE, 20, facts=success(1))])
        await unit.move_items([move(0, Head(State.FAILED, 0), 21, facts=Facts(GONE, original(7)))])

    async with records.write() as unit:
        assert await unit.first_twins_of([("a", digest(7)), ("b", digest(7)), ("b", digest(1)), ("b", digest(2))]) == {
            ("b", digest(7)): [3, 5],
            ("b", digest(1)): [4],
        }
        assert await unit.first_twins("b", {digest(7), digest(2)}) == {digest(7): [3, 5]}


async def test_of_several_batches_each_is_saved_as_it_is(records: Records) -> None:
    batches = [new_batch(batch_id) for batch_id in "abc"]
    for batch in batches:
        await put_batch(records, batch, new_items(range(2)))
    batches[0].state, batches[0].finished_at, batches[0].swept = BatchState.COMPLETED, 7.5, True
    batches[1].counts.move(State.PENDING, State.QUEUED)
    batches[1].started_at = 3.25

    async with records.write() as unit:
        await unit.save_batches(batches[:2])

    found = [await batch_of(records, batch_id) for batch_id in "abc"]
    assert [values(batch) for batch in found] == [values(batch) for batch in batches]


def values(batch: Batch) -> dict[str, object]:
    return {**{each.name: getattr(batch, each.name) for each in fields(batch)}, "counts": dict(batch.counts)}
