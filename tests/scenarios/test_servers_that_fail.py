"""The broker and the database may die, or lose everything that was on the queues; the batch goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.under_load import begin, expect_every_item_ended_once
from tests.support.eventually import eventually_blocking
from tests.support.postgres_node import PostgresNode
from tests.support.rabbitmq_node import RabbitNode
from tests.support.services_house import ServicesHouse, open_services_house


@pytest.fixture
def mortal(tmp_path: Path, rabbitmq_node: RabbitNode, postgres_node: PostgresNode) -> Iterator[ServicesHouse]:
    """Services on servers of this run's own, which may be killed."""
    with open_services_house(tmp_path, rabbitmq_node.url, postgres_node.url()) as house:
        yield house


def test_a_broker_that_is_killed_and_comes_back_loses_nothing(mortal: ServicesHouse, rabbitmq_node: RabbitNode) -> None:
    load = begin(mortal, 300)
    load.until_final(0.3)
    load.note_strike()

    rabbitmq_node.kill()
    eventually_blocking(lambda: mortal.cluster.serves("gateway-1") is False, timeout_s=10.0)
    rabbitmq_node.start()

    mortal.cluster.until_serving()
    expect_every_item_ended_once(load)


def test_queues_that_lose_everything_are_noticed_and_their_work_is_done_again(
    mortal: ServicesHouse, rabbitmq_node: RabbitNode
) -> None:
    load = begin(mortal, 300)
    load.until_final(0.3)
    load.note_strike()

    rabbitmq_node.kill()
    rabbitmq_node.wipe()
    rabbitmq_node.start()
    back = time.monotonic()
    mortal.cluster.until_serving(timeout_s=30.0)
    claimed_anew = (
        "SELECT count(*) AS number FROM claims WHERE published_at IS NOT NULL "
        "AND epoch = (SELECT epoch FROM epochs WHERE number = 2)"
    )
    eventually_blocking(lambda: mortal.cluster.rows(claimed_anew)[0]["number"], timeout_s=30.0)
    assert time.monotonic() - back < 30.0

    expect_every_item_ended_once(load)
    assert time.monotonic() - back < 60.0


def test_a_database_that_is_killed_and_comes_back_loses_nothing(
    mortal: ServicesHouse, postgres_node: PostgresNode
) -> None:
    load = begin(mortal, 300)
    load.until_final(0.3)
    load.note_strike()

    postgres_node.kill()
    eventually_blocking(lambda: mortal.cluster.serves("storage-1") is False, timeout_s=10.0)
    eventually_blocking(lambda: mortal.cluster.serves("gateway-1") is False, timeout_s=10.0)
    postgres_node.start()

    mortal.cluster.until_serving()
    expect_every_item_ended_once(load)
