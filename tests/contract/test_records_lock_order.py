"""Units that write at the same time lock what they share in one order, so that none waits for one that waits for it."""

from __future__ import annotations

import asyncio

import asyncpg

from imagemill.ports.records import Claim
from storage_svc.choosing import Chooser
from storage_svc.claims import ClaimLimits, claim_items
from tests.support.builders import FAR_OFF, claim_rows, new_batch, new_items, put_batch
from tests.support.eventually import eventually
from tests.support.replicas import replicas

PATIENCE_S = 20.0


async def somebody_waits(url: str) -> bool:
    """Whether a session waits for what another one has locked."""
    connection = await asyncpg.connect(url)
    try:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(await connection.fetchval(query))
    finally:
        await connection.close()


async def test_r5_a_batch_that_comes_while_a_unit_works_is_not_locked_out_of_order(postgres_url: str) -> None:
    async with replicas(postgres_url, 2) as (one, other), asyncio.timeout(PATIENCE_S):
        await put_batch(one, new_batch("m"), new_items(range(2)))

        async def take_both() -> None:
            async with other.write() as unit:
                assert set(await unit.batches({"a", "m"})) == {"a", "m"}

        async with one.write() as unit:
            assert [batch.id for batch in await unit.working_batches()] == ["m"]
            await put_batch(other, new_batch("a"), new_items(range(2)))
            await claim_rows(other, range(2), batch_id="a")
            # The other one holds `a` by now, and waits for `m`.
            waiting = asyncio.create_task(take_both())
            await eventually(lambda: somebody_waits(postgres_url), timeout_s=PATIENCE_S)

            assert [batch.id for batch in await unit.working_batches()] == ["m"]
            assert await unit.batches_in_flight() == []
        await waiting

        async with one.write() as unit:
            assert {batch.id for batch in await unit.working_batches()} == {"a", "m"}


async def test_a_claim_waits_for_no_batch_that_it_takes_nothing_of(postgres_url: str) -> None:
    limits = ClaimLimits(max_items=10, window=10, least=1)
    async with replicas(postgres_url, 2) as (one, other), asyncio.timeout(PATIENCE_S):
        for batch_id in ("in flight", "waits"):
            await put_batch(one, new_batch(batch_id), new_items(range(2)))
        await claim_rows(one, range(2), batch_id="in flight", lease_until=FAR_OFF)

        async with one.write() as unit:
            await unit.batches(["in flight"])
            (claimed,) = await claim_items(other, Chooser(), Claim("mine", "e", FAR_OFF), limits, 0.0, lease_s=60.0)

    assert (claimed.batch.id, [item.index for item in claimed.items]) == ("waits", [0, 1])
