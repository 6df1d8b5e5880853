"""What a sweep asks of the records, on every adapter."""

from __future__ import annotations

from imagemill.domain.batches import BatchState
from imagemill.domain.items import Head, State
from imagemill.ports.records import Records
from tests.support.builders import batch_of, claim_rows, digest, move, new_batch, new_items, put_batch, success


async def test_ended_batches_are_unswept_until_they_are_marked(records: Records) -> None:
    for batch_id, state in (("a", BatchState.ACTIVE), ("b", BatchState.COMPLETED), ("c", BatchState.CANCELLED)):
        batch = new_batch(batch_id, state)
        batch.finished_at = 7.0 if state.is_final else None
        await put_batch(records, batch, new_items(range(1)))
    assert {batch.id for batch in await records.unswept_batches(10)} == {"b", "c"}
    assert len(await records.unswept_batches(1)) == 1

    async with records.write() as unit:
        (batch,) = (await unit.batches(["b"])).values()
        batch.swept = True
        await unit.save_batch(batch)

    assert [batch.id for batch in await records.unswept_batches(10)] == ["c"]
    assert (await batch_of(records)).swept


async def test_digests_are_known_by_items_in_flight_and_by_those_that_ended_without_pictures(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(6)))
    await put_batch(records, new_batch("other"), new_items(range(1)))
    await claim_rows(records, range(5))
    states = (State.PROCESSING, State.SUCCEEDED, State.FAILED, State.CANCELLED, State.SKIPPED)
    heads = [Head(state, 0, 1) for state in states]
    async with records.write() as unit:
        batch = (await unit.batches(["b"]))["b"]
        await unit.move_items([move(n, head, batch.revision + 1 + n, facts=success(n)) for n, head in enumerate(heads)])
        asked = {digest(n) for n in range(6)}
        assert await unit.digests_in_flight("b", asked) == {digest(0)}
        assert await unit.digests_without_pictures("b", asked) == {digest(2), digest(3), digest(4)}
        assert await unit.digests_without_pictures("b", {digest(1), digest(3)}) == {digest(3)}
        assert await unit.digests_without_pictures("other", asked) == set()


async def test_epochs_come_in_the_order_in_which_they_were_entered(records: Records) -> None:
    async with records.write() as unit:
        assert await unit.epochs() == []
    for number, epoch in enumerate(("2", "1", "1", "2")):
        async with records.write() as unit:
            await unit.enter_epoch(epoch, float(number))
            assert (await unit.epochs())[0] == epoch
    async with records.write() as unit:
        assert await unit.epochs() == ["2", "1"]


async def test_epochs_that_are_long_over_are_forgotten(records: Records) -> None:
    for epoch, now in (("1", 0.0), ("2", 1.0), ("3", 1e6)):
        async with records.write() as unit:
            await unit.enter_epoch(epoch, now)
    async with records.write() as unit:
        assert await unit.epochs() == ["3", "2"], "the one before was the present one until now"
        await unit.enter_epoch("4", 2e6)
        assert await unit.epochs() == ["4", "3"]


async def test_a_store_that_can_be_used_passes_its_check(records: Records) -> None:
    await records.check()
