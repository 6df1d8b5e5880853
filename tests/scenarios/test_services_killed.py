"""Any service may die at any moment, and the batch still ends with every item counted once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.under_load import begin, expect_every_item_ended_once
from tests.support.services_house import ServicesHouse, open_services_house

SERVICES = ("storage", "gateway", "downloader", "processor")


@pytest.fixture
def pairs(tmp_path: Path, rabbitmq_server: str, postgres_server: str) -> Iterator[ServicesHouse]:
    """Two of each service."""
    with open_services_house(tmp_path, rabbitmq_server, postgres_server, replicas=2) as house:
        yield house


def test_each_service_is_killed_in_the_middle_of_a_batch_and_started_again(services: ServicesHouse) -> None:
    load = begin(services, 400)
    for number, service in enumerate(SERVICES, 1):
        load.until_final(number * 0.18)
        load.note_strike()
        services.cluster.kill(f"{service}-1")
        services.cluster.start(f"{service}-1")

    expect_every_item_ended_once(load)


@pytest.mark.parametrize("seed", [1])
def test_of_two_of_each_service_any_may_be_killed_at_any_moment(pairs: ServicesHouse, seed: int) -> None:
    chance = random.Random(seed)
    load = begin(pairs, 800)
    for number in range(1, 9):
        load.until_final(number * 0.1)
        load.note_strike()
        member = chance.choice(pairs.cluster.members)
        pairs.cluster.kill(member)
        pairs.cluster.start(member)

    expect_every_item_ended_once(load)


def test_a_rolling_restart_of_every_service_fails_no_item_and_ends_no_watch(pairs: ServicesHouse) -> None:
    load = begin(pairs, 600, pause_s=0.2)
    for number, member in enumerate(pairs.cluster.members):
        load.until_final(0.05 + number * 0.1)
        # A message of which a part is done is handed back whole.
        load.note_strike()
        pairs.cluster.stop(member)
        pairs.cluster.start(member)
        pairs.cluster.until_serving(member)

    expect_every_item_ended_once(load)
