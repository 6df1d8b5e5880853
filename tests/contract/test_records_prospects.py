"""What whoever claims looks at before anything is locked, by `imagemill.ports.records.View.prospects`."""

from __future__ import annotations

from imagemill.domain.batches import BatchState
from imagemill.domain.items import Head, State
from imagemill.ports.records import Claim, Prospect, Records
from tests.support.builders import batch_of, claim_rows, move, new_batch, new_items, put_batch

NOW = 1000.0


async def only(records: Records) -> Prospect:
    (prospect,) = await records.prospects()
    return prospect


async def test_active_batches_come_oldest_first_and_no_others(records: Records) -> None:
    for state in (BatchState.PAUSED, BatchState.CANCELLING, BatchState.COMPLETED):
        await put_batch(records, new_batch(state.name, state), new_items(range(2)))
    async with records.write() as unit:
        await unit.insert_batch(new_batch("receiving"))
    for batch_id, created_at in (("newer", 7.0), ("older", 5.0)):
        await put_batch(records, new_batch(batch_id, created_at=created_at, priority=3), new_items(range(2)))

    found = await records.prospects()

    assert [(each.batch_id, each.priority) for each in found] == [("older", 3), ("newer", 3)]


async def test_a_prospect_counts_what_its_batch_counts(records: Records) -> None:
    batch = new_batch()
    batch.dispatched = 9
    await put_batch(records, batch, [])
    for number, state in enumerate(State, start=1):
        batch.counts.add(state, 10**number)
    async with records.write() as unit:
        await unit.save_batch(batch)

    found = await only(records)

    assert (found.waiting, found.in_flight, found.to_render, found.dispatched) == (10, 111100, 110000, 9)


async def test_the_first_of_what_waits_and_of_what_is_in_flight_says_when_there_is_something(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    async with records.write() as unit:
        for index, due_at in ((0, 1100.0), (1, 900.0)):
            await unit.move_items([move(index, Head(State.PENDING, 1), 10 + index, due_at=due_at)])
    await claim_rows(records, [2], token="a", lease_until=NOW + 60)
    await claim_rows(records, [3], token="b", lease_until=NOW + 30)

    prospect = await only(records)

    assert (prospect.due_at, prospect.lease_ends_at) == (900.0, NOW + 30)


async def test_where_nothing_waits_and_nothing_is_in_flight_there_is_no_such_time(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(2), State.SKIPPED))

    prospect = await only(records)

    assert (prospect.due_at, prospect.lease_ends_at) == (None, None)


async def test_a_batch_was_served_when_it_was_last_worked_on(records: Records) -> None:
    await put_batch(records, new_batch(created_at=500.0), new_items(range(2)))
    assert (await only(records)).served_at == 0.0

    batch = await batch_of(records)
    batch.started_at, batch.changed_at = 600.0, 700.0
    async with records.write() as unit:
        await unit.save_batch(batch)

    assert (await only(records)).served_at == 700.0


async def test_a_claim_is_known_by_its_token(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(1)))
    async with records.write() as unit:
        await unit.claim(Claim("mine", "e", NOW), "b", [(0, Head(State.QUEUED, 0, 1), 10)], 0.0)

    assert await records.is_claim("mine")
    assert not await records.is_claim("another's")
