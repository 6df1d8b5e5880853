"""A mill brought to the next version in the middle of a batch: the tables first, then service by service.

The next version is this one with an additive step, a field more in its messages and its API, and their next minor
version. Services of both work side by side, each with each; in the end the batch is what it would have been anyway.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from imagemill.adapters.sql.revisions import COMPATIBLE_FROM, REVISION
from imagemill.domain.batches import BatchState
from imagemill.ports.broker import Depth, Queue
from imagemill.wiring.broker import open_broker
from tests.scenarios.test_watch_through_replicas import Follower
from tests.scenarios.under_load import BASE, LONGEST_S, Load, expect_every_item_ended_once
from tests.support import pictures
from tests.support.cluster import IMAGEMILL, SERVICES, Cluster
from tests.support.eventually import eventually
from tests.support.next_version import NEXT_REVISION, VERSION, WORD, make_next_version
from tests.support.picture_server import Reply, slow, status
from tests.support.postgres_node import run_apart
from tests.support.processes import Ended, Program
from tests.support.services_house import ServicesHouse, open_services_house

ITEMS = 500
STEP = 8
"""Items that end between two changes of the mill."""


class Mixed(Cluster):
    """Services of two versions; each is of this one until it is upgraded."""

    next_version: Path
    upgraded: frozenset[str] = frozenset()

    def environment(self, member: str) -> dict[str, str]:
        """What a service is told, its version included."""
        version = {"PYTHONPATH": str(self.next_version)} if member in self.upgraded else {}
        return super().environment(member) | version

    def upgrade(self, member: str) -> None:
        """Replace a service by the next version of it, or start that beside the others."""
        if member in self.programs:
            self.stop(member)
        self.upgraded |= {member}
        self.begin(member)

    def go_back(self, member: str) -> None:
        """Replace a service of the next version by this one."""
        self.stop(member)
        self.upgraded -= {member}
        self.begin(member)

    def begin(self, member: str) -> None:
        """Start a service, and wait until it serves."""
        self.start(member)
        self.until_serving(member)

    def asks(self, *words: str) -> Ended:
        """Run a command of the next version."""
        told = {**self.environment("storage-1"), "PYTHONPATH": str(self.next_version)}
        return Program([IMAGEMILL, *words], self.folder, environment=told).ended()


class Journey:
    """The batch that is under way meanwhile."""

    def __init__(self, house: ServicesHouse, cluster: Mixed) -> None:
        self.house, self.cluster = house, cluster
        self.pause_s = 0.6
        """How long a picture takes to come."""
        house.server.fallback = self._reply
        house.write_list(house.server.url(f"/{number}.jpg") for number in range(ITEMS))
        # Time to finish what is in hand: then nothing is asked for twice.
        cluster.tell({"DOWNLOADS": "3", "PER_HOST": "3", "GRACE_S": "4"})

    def _reply(self, path: str) -> Reply:
        number = int(Path(path).stem)
        if number % 50 == 3:
            return status(404)
        return slow(pictures.numbered(BASE, number), len(BASE) / self.pause_s)

    def begin(self) -> Load:
        """Start one service of each kind, and hand the list in."""
        for service in SERVICES:
            self.cluster.begin(f"{service}-1")
        return Load(self.house, ITEMS, self.house.submit("--watch"))

    async def goes_on(self, *members: str) -> None:
        """Wait until these services serve, all that run if none is named, and some more items have ended."""
        await asyncio.to_thread(self.cluster.until_serving, *members)
        before = len(self.house.truth().final)
        await eventually(lambda: len(self.house.truth().final) >= before + STEP, timeout_s=LONGEST_S, pause_s=0.05)
        assert self.house.truth().batch is BatchState.ACTIVE, "the batch is over before the upgrade is"

    def moved(self) -> Counter[str]:
        """How many final rows the next version of storage has moved at least once, and how many only this one."""
        rows = self.cluster.rows("SELECT moved_by FROM items WHERE state >= 6")
        return Counter(row["moved_by"] or "this version" for row in rows)

    def downloads(self) -> Counter[str]:
        """How many pictures each version of the downloader has asked for."""
        heads = [head for all_of_one in self.house.server.heads.values() for head in all_of_one]
        return Counter(WORD if f"Imagemill/{VERSION}" in head["user-agent"] else "this version" for head in heads)


@pytest.fixture
def journey(tmp_path: Path, rabbitmq_server: str, postgres_server: str) -> Iterator[Journey]:
    next_version = make_next_version(tmp_path / "next")
    (tmp_path / "house").mkdir()
    with open_services_house(tmp_path / "house", rabbitmq_server, postgres_server, replicas=2, kind=Mixed) as house:
        assert isinstance(house.cluster, Mixed)
        house.cluster.next_version = next_version
        yield Journey(house, house.cluster)


async def test_services_of_two_versions_finish_a_batch_together(journey: Journey) -> None:
    cluster, house = journey.cluster, journey.house
    load = await asyncio.to_thread(journey.begin)
    await eventually(lambda: load.following.out.startswith("batches/"), timeout_s=LONGEST_S)
    follower = Follower()
    async with asyncio.TaskGroup() as group:
        group.create_task(follower.follow(cluster.target, load.following.out.split()[0]))
        await journey.goes_on()
        await migrate(journey)
        for service in SERVICES:
            await asyncio.to_thread(cluster.upgrade, f"{service}-2")
            await journey.goes_on()
        assert len(cluster.programs) == 2 * len(SERVICES)
        # Which of two takes what either has sent is chance.
        await eventually(lambda: not unheard(cluster.logs()), timeout_s=LONGEST_S, pause_s=0.05)
        await asyncio.to_thread(cluster.upgrade, "storage-1")
        await journey.goes_on()
        for service in ("gateway", "downloader", "processor"):
            await asyncio.to_thread(cluster.upgrade, f"{service}-1")
        await journey.goes_on()
        await leave_the_old_storage_alone(journey)
        journey.pause_s = 0.01

    assert follower.ended
    assert follower.revisions == sorted(follower.revisions)
    assert follower.final == {index: state.value for index, state in house.truth().states.items()}
    expect_both_versions_to_have_heard_each_other(journey)
    assert run_apart(depths(cluster.broker_url)) == dict.fromkeys(Queue, Depth(0, 0, 0))
    await asyncio.to_thread(expect_every_item_ended_once, load)
    assert set(house.requests().values()) == {1}


async def migrate(journey: Journey) -> None:
    """Make the next version's tables while this version works: it says that it saw them, and goes on."""
    cluster = journey.cluster
    made = await asyncio.to_thread(cluster.asks, "migrate", "-o", "json")
    assert made.code == 0, made.said
    assert json.loads(made.out) == {"before": REVISION, "after": NEXT_REVISION, "compatible_from": COMPATIBLE_FROM}
    await eventually(lambda: f"tables of revision {NEXT_REVISION}, newer" in cluster.log("storage-1"), timeout_s=10.0)
    await journey.goes_on()


async def leave_the_old_storage_alone(journey: Journey) -> None:
    """Go back to the old storage service, and leave it alone with new tables and what new services send."""
    cluster = journey.cluster
    await asyncio.to_thread(cluster.go_back, "storage-1")
    await asyncio.to_thread(cluster.stop, "storage-2")
    await journey.goes_on("storage-1", "gateway-1", "downloader-1", "processor-1")


def expect_both_versions_to_have_heard_each_other(journey: Journey) -> None:
    """Expect each to have had work, and the next one to have read what both have written."""
    log = journey.cluster.logs()
    assert set(journey.moved()) == set(journey.downloads()) == {"this version", WORD}
    assert not unheard(log)
    assert "ERROR" not in log


def unheard(log: str) -> list[str]:
    """Whom the next version's services have not read yet, by the lines that they log of it."""
    readers, tellers = ("the downloader", "the processor", "the fold"), ("the version before", WORD)
    told = [f"{reader} was told by {teller}." for reader in readers for teller in tellers]
    return [line for line in told if line not in log]


async def depths(broker_url: str) -> Mapping[Queue, Depth]:
    """How many messages are left on the queues, dead and buried ones included."""
    async with open_broker(broker_url) as broker:
        return await broker.depths()
