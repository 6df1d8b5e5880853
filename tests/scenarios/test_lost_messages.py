"""Messages that are lost from queues that live on are made up for, and what only waits there is left in peace."""

from __future__ import annotations

import signal
from collections import Counter

import aio_pika
import pytest

from imagemill.domain.batches import BatchState
from imagemill.domain.items import State
from imagemill.ports.broker import Queue
from tests.support import pictures
from tests.support.eventually import eventually_blocking
from tests.support.picture_server import picture
from tests.support.postgres_node import run_apart
from tests.support.processes import Program
from tests.support.services_house import ServicesHouse

BASE = pictures.jpeg(160, 120)
LEASE_S = 2
ITEMS = 40


@pytest.fixture
def mill(services: ServicesHouse) -> ServicesHouse:
    """A mill whose claims hold for the shortest time that can be set."""
    services.cluster.tell({"LEASE_S": str(LEASE_S)})
    services.write_list(
        services.server.route(f"/{number}.jpg", picture(pictures.numbered(BASE, number))) for number in range(ITEMS)
    )
    return services


def start_all_but(mill: ServicesHouse, absent: str) -> None:
    present = [member for member in mill.cluster.members if member != absent]
    mill.cluster.start(*present)
    mill.cluster.until_serving(*present)


def message_count(mill: ServicesHouse, queue: Queue, *, purge: bool = False) -> int:
    """How many messages wait on a queue; purged, they are lost, and nobody is told."""

    async def ask() -> int:
        async with await aio_pika.connect(mill.cluster.broker_url) as connection:
            channel = await connection.channel()
            declared = await channel.declare_queue(queue.value, passive=True)
            if purge:
                await declared.purge()
            return declared.declaration_result.message_count or 0

    return run_apart(ask())


def states(mill: ServicesHouse) -> Counter[State]:
    return Counter(mill.truth().states.values())


def expect_each_url_asked_for_once(mill: ServicesHouse, following: Program) -> None:
    ended = following.ended()
    assert ended.code == 0, ended.said + mill.log()
    truth = mill.truth()
    assert truth.batch is BatchState.COMPLETED
    assert truth.counts == truth.counted
    assert states(mill) == {State.SUCCEEDED: ITEMS}
    assert mill.requests() == Counter({f"/{number}.jpg": 1 for number in range(ITEMS)}), mill.log()


def test_what_a_purge_of_the_download_queue_took_is_downloaded_all_the_same(mill: ServicesHouse) -> None:
    start_all_but(mill, "downloader-1")
    following = mill.submit("--watch")
    eventually_blocking(lambda: states(mill) == {State.QUEUED: ITEMS}, timeout_s=20.0)
    eventually_blocking(lambda: message_count(mill, Queue.DOWNLOAD), timeout_s=10.0)

    assert message_count(mill, Queue.DOWNLOAD, purge=True) > 0
    mill.cluster.start("downloader-1")

    expect_each_url_asked_for_once(mill, following)


def test_what_a_purge_of_the_process_queue_took_is_rendered_from_what_is_stored(mill: ServicesHouse) -> None:
    start_all_but(mill, "processor-1")
    following = mill.submit("--watch")
    eventually_blocking(lambda: states(mill) == {State.DOWNLOADED: ITEMS}, timeout_s=20.0)

    assert message_count(mill, Queue.PROCESS, purge=True) > 0
    mill.cluster.start("processor-1")

    expect_each_url_asked_for_once(mill, following)


def test_workers_that_stand_still_for_many_leases_are_waited_for(mill: ServicesHouse) -> None:
    mill.open()
    workers = [mill.cluster.programs[member] for member in ("downloader-1", "processor-1")]
    for worker in workers:
        worker.send(signal.SIGSTOP)
    following = mill.submit("--watch")
    eventually_blocking(lambda: states(mill) == {State.QUEUED: ITEMS}, timeout_s=20.0)

    # The store has sent two markers, a lease apart: so much time has passed since everything was published.
    asked = "SELECT asked_at - (SELECT max(published_at) FROM claims) AS since FROM epochs ORDER BY number DESC LIMIT 1"
    eventually_blocking(lambda: (mill.cluster.rows(asked)[0]["since"] or 0.0) > 2 * LEASE_S, timeout_s=30.0)
    for worker in workers:
        worker.send(signal.SIGCONT)

    expect_each_url_asked_for_once(mill, following)
    assert mill.cluster.rows("SELECT max(claims) AS most FROM items")[0]["most"] == 1
