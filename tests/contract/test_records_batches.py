"""Which batches a store finds, on every adapter."""

from __future__ import annotations

from imagemill.domain.batches import BatchState
from imagemill.ports.records import Records
from tests.support.builders import claim_rows, new_batch, new_items, put_batch


async def test_batches_at_work_are_those_without_an_end_and_those_that_ended_of_late(records: Records) -> None:
    for number, (client, end) in enumerate([("a", 10.0), ("a", 20.0), ("b", 30.0), ("a", None), ("b", None)]):
        batch = new_batch(f"b{number}", created_at=number, client_id=client)
        batch.finished_at = end
        async with records.write() as unit:
            await unit.insert_batch(batch)

    async def names(client_id: str, ended_since: float) -> list[str]:
        return [batch.id for batch in await records.batches_at_work(client_id, ended_since)]

    assert await names("", 20.0) == ["b4", "b3", "b2", "b1"]
    assert await names("", 31.0) == ["b4", "b3"]
    assert await names("a", 0.0) == ["b3", "b1", "b0"]


async def test_r2_of_the_batches_with_work_left_those_in_flight_and_those_cancelled_are_told_apart(
    records: Records,
) -> None:
    for batch_id, state in (
        ("waits", BatchState.ACTIVE),
        ("flies", BatchState.PAUSED),
        ("ends", BatchState.CANCELLING),
    ):
        await put_batch(records, new_batch(batch_id, state), new_items(range(2)))
    await claim_rows(records, [1], batch_id="flies")

    async with records.write() as unit:
        assert [batch.id for batch in await unit.batches_in_flight()] == ["flies"]
    async with records.write() as unit:
        assert [batch.id for batch in await unit.cancelling_batches()] == ["ends"]
