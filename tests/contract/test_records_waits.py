"""What has waited longest, by `imagemill.ports.records.View.waits`."""

from __future__ import annotations

from imagemill.domain.batches import BatchState
from imagemill.domain.items import Head, State
from imagemill.ports.records import Claim, Records, Waits
from tests.support.builders import claim_rows, move, new_batch, new_items, put_batch

NOW = 1000.0


async def test_nothing_waits_where_nothing_is(records: Records) -> None:
    assert await records.waits(NOW) == Waits(None, None)


async def test_new_items_wait_since_their_batch_came(records: Records) -> None:
    await put_batch(records, new_batch("b", created_at=700.0), new_items(range(3)))
    await put_batch(records, new_batch("older", created_at=600.0), new_items(range(3)))

    assert await records.waits(NOW) == Waits(600.0, None)


async def test_a_retry_waits_from_when_it_is_due(records: Records) -> None:
    await put_batch(records, new_batch(created_at=100.0), new_items(range(2)))
    async with records.write() as unit:
        await unit.move_items([move(0, Head(State.PENDING, 1), 10, due_at=900.0)])
        await unit.move_items([move(1, Head(State.PENDING, 1), 11, due_at=1100.0)])

    assert await records.waits(800.0) == Waits(None, None)
    assert await records.waits(NOW) == Waits(900.0, None)


async def test_only_batches_that_are_dispatched_wait(records: Records) -> None:
    await put_batch(records, new_batch("paused", BatchState.PAUSED, created_at=1.0), new_items([0]))
    await put_batch(records, new_batch("cancelling", BatchState.CANCELLING, created_at=1.0), new_items([0]))

    assert await records.waits(NOW) == Waits(None, None)


async def test_the_oldest_claim_counts_as_long_as_something_of_it_is_in_flight(records: Records) -> None:
    await put_batch(records, new_batch(created_at=100.0), new_items(range(3)))
    for index, (token, claimed_at) in enumerate((("early", 300.0), ("late", 400.0))):
        await claim_rows(records, [index], token=token)
        async with records.write() as unit:
            rows = [(index, Head(State.QUEUED, 0, 1), 50 + index)]
            await unit.claim(Claim(f"{token}-again", "e", NOW + 60), "b", rows, claimed_at)
    assert await records.waits(NOW) == Waits(100.0, 300.0)

    async with records.write() as unit:
        await unit.move_items([move(0, Head(State.SUCCEEDED, 0, 1), 60)])

    assert await records.waits(NOW) == Waits(100.0, 400.0)
