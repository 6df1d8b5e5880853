"""A batch followed from its start through either gateway, while gateways and storage services die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagemill.client import MillClient
from imagemill.v1.batch_pb2 import Item
from imagemill.v1.batch_service_pb2 import BatchUpdate
from tests.scenarios.under_load import begin, expect_every_item_ended_once
from tests.support.eventually import eventually
from tests.support.services_house import ServicesHouse, open_services_house

ITEMS = 400
FINAL = (Item.STATE_SUCCEEDED, Item.STATE_FAILED, Item.STATE_SKIPPED, Item.STATE_CANCELLED)
LONGEST_S = 60.0
STRUCK = ("gateway-1", "storage-1", "gateway-2", "storage-2")


@pytest.fixture
def pairs(tmp_path: Path, rabbitmq_server: str, postgres_server: str) -> Iterator[ServicesHouse]:
    with open_services_house(tmp_path, rabbitmq_server, postgres_server, replicas=2) as house:
        yield house


class Follower:
    """One who has heard everything since the batch began."""

    def __init__(self) -> None:
        self.final: dict[int, Item.State.ValueType] = {}
        self.revisions: list[int] = []
        self.ended = False

    async def follow(self, target: str, name: str) -> None:
        async with MillClient(target, patience_s=LONGEST_S) as client:
            async for update in client.watch(name, view="items", give_up_after_s=LONGEST_S):
                self.revisions.append(update.revision)
                for item in update.items:
                    if item.state in FINAL:
                        assert self.final.setdefault(item.index, item.state) == item.state
                self.ended = update.kind == BatchUpdate.KIND_END


async def test_who_follows_from_the_start_has_seen_every_final_state_whoever_dies(pairs: ServicesHouse) -> None:
    cluster = pairs.cluster
    load = await asyncio.to_thread(begin, pairs, ITEMS)
    await eventually(lambda: load.following.out.startswith("batches/"), timeout_s=LONGEST_S)
    name = load.following.out.split()[0]
    followers = [Follower() for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        for number, follower in enumerate(followers):
            group.create_task(follower.follow(cluster.target_of(f"gateway-{1 + number % 2}"), name))
        for number, member in enumerate(STRUCK, 1):
            await asyncio.to_thread(load.until_final, number * 0.18)
            load.note_strike()
            await asyncio.to_thread(cluster.kill, member)
            cluster.start(member)

    (row,) = cluster.rows("SELECT revision FROM batches")
    truth = pairs.truth()
    for follower in followers:
        assert follower.ended
        assert follower.revisions == sorted(follower.revisions)
        assert follower.revisions[-1] == row["revision"]
        assert follower.final == {index: state.value for index, state in truth.states.items()}
    await asyncio.to_thread(expect_every_item_ended_once, load)
