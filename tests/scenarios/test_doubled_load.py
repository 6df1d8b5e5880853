"""Two of every service under load for a while: no deadlock, nothing lost, and no more memory at the end than before.

`make soak` does the same for ten minutes, or for as many seconds as IMAGEMILL_TEST_SOAK_S says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from imagemill.client import MillClient
from imagemill.domain.batches import BatchState
from imagemill.domain.items import State
from imagemill.domain.presets import PRESETS
from imagemill.v1.batch_pb2 import Item
from imagemill.v1.batch_service_pb2 import BatchUpdate
from tests.support import pictures
from tests.support.eventually import eventually_blocking
from tests.support.picture_server import Reply, picture, status
from tests.support.services_house import ServicesHouse, open_services_house

LASTS_S = float(os.environ.get("IMAGEMILL_TEST_SOAK_S", "30"))
SUBMITTERS = 4
ITEMS = 120
TRY_S = 60.0
"""How long a call may be tried again, in seconds."""
MOST_GROWTH_MIB = 24.0
SAMPLE_S = 0.5
BASE = pictures.jpeg(96, 72)
RECIPE = PRESETS["dataset-256"].to_mapping()
FINAL = (Item.STATE_SUCCEEDED, Item.STATE_FAILED, Item.STATE_SKIPPED, Item.STATE_CANCELLED)


@pytest.fixture
def pairs(tmp_path: Path, rabbitmq_server: str, postgres_server: str) -> Iterator[ServicesHouse]:
    with open_services_house(tmp_path, rabbitmq_server, postgres_server, replicas=2) as house:
        house.server.fallback = answer
        house.open()
        yield house


def answer(path: str) -> Reply:
    """Most are pictures of their own, some the same as another one, some missing."""
    number = int(path.rpartition("/")[2])
    if number % 20 == 3:
        return status(404)
    return picture(pictures.numbered(BASE, number - 1 if number % 10 == 7 else number))


class Load:
    """Batches that are handed in through one gateway and followed through the other, one after another."""

    def __init__(self, house: ServicesHouse) -> None:
        self.house = house
        self.ends: dict[str, Counter[str]] = {}
        """What came of each batch, as its follower has seen it."""
        self.memory: dict[str, list[float]] = defaultdict(list)
        """The memory of each service from time to time, in MiB."""
        self._over = asyncio.Event()

    async def last(self, seconds: float) -> None:
        """Go on for so long, and then to the end of what was begun."""
        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(self._sample())
            submitters = [group.create_task(self._submit(number)) for number in range(SUBMITTERS)]
            await asyncio.sleep(seconds)
            self._over.set()
            await asyncio.gather(*submitters)
            sampling.cancel()

    async def _submit(self, submitter: int) -> None:
        gateways = [self.house.cluster.target_of(f"gateway-{1 + (submitter + n) % 2}") for n in range(2)]
        async with (
            MillClient(gateways[0], patience_s=TRY_S) as front,
            MillClient(gateways[1], patience_s=TRY_S) as back,
        ):
            number = 0
            while not self._over.is_set():
                first = (number * SUBMITTERS + submitter) * ITEMS
                await self._one(front, back, first, priority=1 + 20 * submitter, stopped=number % 5 == 4)
                number += 1

    async def _one(self, front: MillClient, back: MillClient, first: int, *, priority: int, stopped: bool) -> None:
        name = f"load-{first}"
        urls = [self.house.server.url(f"/{first + n}") for n in range(ITEMS)]
        batch = await front.submit(urls, recipe=RECIPE, batch_id=name, request_id=name, priority=priority)
        states: dict[int, Item.State.ValueType] = {}
        async for update in back.watch(batch, view="items", give_up_after_s=TRY_S):
            for item in update.items:
                assert states.get(item.index) not in FINAL or states[item.index] == item.state, name
                states[item.index] = item.state
            if stopped and update.kind == BatchUpdate.KIND_SNAPSHOT:
                await front.pause(batch)
                await back.resume(batch)
        self.ends[name] = Counter(Item.State.Name(state) for state in states.values())

    async def _sample(self) -> None:
        processes = {name: psutil.Process(program.pid) for name, program in self.house.cluster.programs.items()}
        while True:
            for name, process in processes.items():
                self.memory[name].append(mebibytes(process))
            await asyncio.sleep(SAMPLE_S)

    def growth(self) -> dict[str, float]:
        """How much more memory each service had in the last fifth of the time than in the second, in MiB."""
        grown = {}
        for name, samples in self.memory.items():
            fifth = len(samples) // 5
            grown[name] = statistics.median(samples[-fifth:]) - statistics.median(samples[fifth : 2 * fifth])
        return grown


def mebibytes(process: psutil.Process) -> float:
    """The memory of a service and of what it has started."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # renderers are replaced now and then
            total += each.memory_info().rss / 2**20
    return total


def deadlocks(house: ServicesHouse) -> int:
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int(house.cluster.rows(query)[0]["deadlocks"])


@pytest.mark.timeout(LASTS_S + 180, func_only=True)
async def test_two_of_every_service_under_load_neither_lock_lose_nor_grow(pairs: ServicesHouse) -> None:
    before = deadlocks(pairs)
    load = Load(pairs)

    await load.last(LASTS_S)

    # expect each follower to have seen each item's end
    missing = sum(number % 20 == 3 for number in range(ITEMS))
    expected = {"STATE_SUCCEEDED": ITEMS - missing, "STATE_FAILED": missing}
    assert len(load.ends) >= SUBMITTERS
    assert {name: counts for name, counts in load.ends.items() if counts != expected} == {}
    # expect the counters to be those of the rows
    states = {row["id"]: BatchState(row["state"]) for row in pairs.cluster.rows("SELECT id, state FROM batches")}
    assert states == dict.fromkeys(load.ends, BatchState.COMPLETED)
    for state in (State.SUCCEEDED, State.FAILED):
        rows = pairs.cluster.rows(f"SELECT count(*) AS n FROM items WHERE state = {state.value}")
        counted = pairs.cluster.rows(f"SELECT sum(n_{state.name.lower()}) AS n FROM batches")
        assert rows[0]["n"] == counted[0]["n"] == expected[f"STATE_{state.name}"] * len(load.ends)
    # expect the memory to be flat
    growth = load.growth()
    assert all(grown <= MOST_GROWTH_MIB for grown in growth.values()), growth
    # expect no deadlock to have been seen by the time that all sessions have told what they know
    eventually_blocking(lambda: not pairs.orphans(), timeout_s=10.0)
    logs = pairs.cluster.logs()
    pairs.cluster.stop()
    assert deadlocks(pairs) == before
    assert "had two units wait for each other" not in logs
