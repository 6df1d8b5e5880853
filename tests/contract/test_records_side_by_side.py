"""Many writers at once on PostgreSQL, which lets them: none in another one's way, nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
import random

from imagemill.adapters.sql.postgres import PostgresRecords, open_postgres
from imagemill.domain.batches import BatchState
from imagemill.domain.items import ItemEvent, State
from imagemill.ports.records import Claim, RecordsUnavailable
from storage_svc.choosing import Chooser
from storage_svc.claims import ClaimLimits, claim_items
from storage_svc.fold import fold
from storage_svc.intake import append_items, open_batch, seal_batch
from tests.support.builders import (
    FAR_OFF,
    assert_counters_equal_rows,
    batch_of,
    event,
    new_batch,
    new_items,
    put_batch,
    rows_of,
)
from tests.support.eventually import eventually
from tests.support.replicas import replicas

NOW = 1000.0
PATIENCE_S = 60.0


async def test_r5_of_many_claimers_none_gets_what_another_has_and_nothing_is_left(postgres_url: str) -> None:
    limits = ClaimLimits(max_items=37, window=100_000, least=1)
    claimed: list[tuple[str, int]] = []

    async def claim_all(records: PostgresRecords, claimer: int) -> None:
        for turn in range(10_000):
            claim = Claim(f"{claimer}-{turn}", "e", FAR_OFF)
            parts = await claim_items(records, Chooser(), claim, limits, NOW, lease_s=60.0)
            if not parts:
                return
            claimed.extend((part.batch.id, item.index) for part in parts for item in part.items)

    async with replicas(postgres_url, 4) as stores, asyncio.timeout(PATIENCE_S):
        for batch_id in "ab":
            await put_batch(stores[0], new_batch(batch_id), new_items(range(1000)))
        await asyncio.gather(*(claim_all(store, number) for number, store in enumerate(stores)))

        assert sorted(claimed) == [(batch_id, index) for batch_id in "ab" for index in range(1000)]
        for batch_id in "ab":
            await assert_counters_equal_rows(stores[0], batch_id)


class _Mill:
    """Intake, claims, folds, leases and a cancellation side by side, each by two replicas; events come twice."""

    BATCHES, ITEMS, CHUNK = 4, 600, 60

    def __init__(self, stores: list[PostgresRecords]) -> None:
        self._stores = stores
        self._events: asyncio.Queue[ItemEvent] = asyncio.Queue()
        self._chance = random.Random(1)
        self._ids = [f"b{number}" for number in range(self.BATCHES)]
        self.over = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            intakes = [group.create_task(self._take_in(batch_id)) for batch_id in self._ids]
            for number, store in enumerate(self._stores):
                group.create_task(self._claim(store, number))
                group.create_task(self._fold(store))
                group.create_task(self._extend(store))
            await asyncio.gather(*intakes)
            await self._wait_for_the_end()
            self.over.set()

    async def _take_in(self, batch_id: str) -> None:
        store = self._stores[len(batch_id) % 2]
        await open_batch(store, new_batch(batch_id))
        for first in range(0, self.ITEMS, self.CHUNK):
            chunk = new_items(range(first, first + self.CHUNK))
            # Chunks come twice, at the same moment.
            await asyncio.gather(*(append_items(each, batch_id, chunk, NOW) for each in self._stores))
        await seal_batch(store, batch_id, self.ITEMS, NOW)

    async def _claim(self, store: PostgresRecords, claimer: int) -> None:
        limits = ClaimLimits(max_items=64, window=400, least=16)
        turn = 0
        while not self.over.is_set():
            turn += 1
            claim = Claim(f"{claimer}-{turn}", "e", FAR_OFF)
            for part in await claim_items(store, Chooser(), claim, limits, NOW + 100 * turn, lease_s=60.0):
                for item in part.items:
                    outcome = self._chance.choice((State.SUCCEEDED, State.SUCCEEDED, State.FAILED, State.PENDING))
                    reported = event(item.index % 50, outcome, item.head.attempt, batch_id=part.batch.id)
                    told = ItemEvent(part.batch.id, item.index, item.head.attempt, outcome, reported.facts)
                    self._events.put_nowait(told)
                    self._events.put_nowait(told)
            await asyncio.sleep(0)

    async def _fold(self, store: PostgresRecords) -> None:
        while not self.over.is_set():
            group = [self._events.get_nowait() for _ in range(min(self._events.qsize(), 100))]
            self._chance.shuffle(group)
            await fold(store, group, NOW)
            await asyncio.sleep(0 if group else 0.01)

    async def _extend(self, store: PostgresRecords) -> None:
        while not self.over.is_set():
            async with store.write() as unit:
                await unit.extend_leases("e", FAR_OFF, NOW + 1e6)
            await asyncio.sleep(0.02)

    async def _wait_for_the_end(self) -> None:
        async def all_ended() -> bool:
            ended = [await batch_of(self._stores[0], batch_id) for batch_id in self._ids]
            return all(batch.state is BatchState.COMPLETED for batch in ended)

        await eventually(all_ended, timeout_s=PATIENCE_S, pause_s=0.05)


async def test_r2_intake_claims_and_folds_of_two_replicas_never_get_in_each_others_way(postgres_url: str) -> None:
    async with replicas(postgres_url, 2) as stores:
        await _Mill(stores).run()

        for number in range(_Mill.BATCHES):
            await assert_counters_equal_rows(stores[0], f"b{number}")
            assert len(await rows_of(stores[0], f"b{number}")) == _Mill.ITEMS


async def test_r2_of_two_that_open_the_same_batch_at_once_one_is_told_to_try_again(postgres_url: str) -> None:
    async with replicas(postgres_url, 2) as stores:
        for turn in range(20):
            batch_id, request_id = f"b{turn}", f"r{turn}"
            opened = await asyncio.gather(
                *(open_batch(store, new_batch(batch_id, request_id=request_id)) for store in stores),
                return_exceptions=True,
            )
            refused = [each for each in opened if isinstance(each, BaseException)]
            assert len(refused) < 2
            assert all(isinstance(each, RecordsUnavailable) for each in refused)
            again = await open_batch(stores[1], new_batch("another-id", request_id=request_id))
            assert again.id == batch_id


async def test_r6_cancelled_callers_leave_no_connection_in_use_and_no_transaction_open(postgres_url: str) -> None:
    records = await open_postgres(postgres_url, 2)
    try:
        await put_batch(records, new_batch(), new_items(range(5)))
        chance = random.Random(7)

        async def write() -> None:
            async with records.write() as unit:
                (batch,) = (await unit.batches(["b"])).values()
                await unit.heads("b", [0, 1])
                batch.revision += 1
                await unit.save_batch(batch)

        async def read() -> None:
            await records.items("b", -1, 10)
            await records.tally("b")

        for _ in range(60):
            working = [asyncio.create_task(work()) for work in (write, read, write, read, write)]
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            for task in chance.sample(working, 3):
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

        # As many at once as there are connections: one that was left behind would be missed.
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(work() for work in (write, read) * 10))
    finally:
        await records.close()
