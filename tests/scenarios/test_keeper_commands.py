"""What the keeper of a mill of several processes asks: its parts, its tables, its dead letters, its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import aio_pika
import pytest

from imagemill.ports.broker import Queue
from tests.support.cluster import IMAGEMILL
from tests.support.eventually import eventually_blocking
from tests.support.postgres_node import own_schema, run_apart
from tests.support.processes import Ended, Program
from tests.support.services_house import ServicesHouse


class Keeper:
    """Types commands, with what the services are told in the environment."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    def asks(self, *words: str, **other: str) -> Ended:
        return Program([IMAGEMILL, *words], self._folder, environment={**self._environment, **other}).ended()


@pytest.fixture
def keeper(services: ServicesHouse, tmp_path: Path) -> Keeper:
    services.open()
    return Keeper(tmp_path, services.cluster.environment("storage-1"))


async def publish(url: str, body: bytes) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.default_exchange.publish(aio_pika.Message(body), Queue.DOWNLOAD.value)


def test_a_mill_that_stands_is_looked_at_and_changed_while_it_runs(services: ServicesHouse, keeper: Keeper) -> None:
    cluster = services.cluster
    # every part is there
    well = keeper.asks("doctor", "--to", cluster.target, "-o", "json")
    assert well.code == 0, well.said
    found = {part["part"]: part["ok"] for part in map(json.loads, well.out.splitlines())}
    assert found == dict.fromkeys(("broker", "database", "blob store", "storage service", "gateway"), True)

    # some are not
    ill = keeper.asks(
        "doctor", IMAGEMILL_TO="127.0.0.1:1", IMAGEMILL_BROKER_URL="amqp://mill:s3cret@127.0.0.1:1/",
        IMAGEMILL_STORAGE_TARGET=cluster.target_of("gateway-1"),
    )  # fmt: skip
    assert ill.code == 1, ill.said
    assert "broker: RabbitMQ can't be reached at 127.0.0.1:1." in ill.out
    assert f"storage service: what answers at {cluster.target_of('gateway-1')} is another service." in ill.out
    assert "gateway: nothing answers at 127.0.0.1:1" in ill.out
    assert "s3cret" not in ill.said

    # a message that nobody can read is buried in sight
    run_apart(publish(cluster.broker_url, b"\xff rubbish"))
    dead = eventually_blocking(lambda: keeper.asks("dead", "list", "-o", "json").out, timeout_s=10.0)
    assert json.loads(dead) == {
        "queue": "imagemill.download", "bytes": 9, "batch": "?", "items": "can't be read"
    }  # fmt: skip
    assert keeper.asks("dead", "redrive").out == "1 message is back on the queues.\n"

    # a service tells and changes its settings
    downloader = cluster.target_of("downloader-1")
    assert keeper.asks("settings", "set", "downloads=7", "--to", downloader).code == 0
    told = keeper.asks("settings", "--to", downloader, "-o", "json")
    settings = {each["name"]: each for each in map(json.loads, told.out.splitlines())}
    assert settings["downloads"]["value"] == "7"
    assert "***" in settings["broker_url"]["value"]


def test_tables_are_made_once(postgres_server: str, tmp_path: Path) -> None:
    with own_schema(postgres_server) as url:
        keeper = Keeper(tmp_path, {"IMAGEMILL_DATABASE_URL": url})
        waiting, made, again = keeper.asks("doctor"), keeper.asks("migrate"), keeper.asks("migrate", "-o", "json")

    assert "has no tables yet; run `imagemill migrate`" in waiting.out
    assert (made.code, made.out.split(" to ")[0]) == (0, "The database has been brought from nothing")
    record = json.loads(again.out)
    assert record["before"] == record["after"]


def test_parts_that_nobody_has_named_are_asked_for(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, {})

    ended = keeper.asks("doctor", "--to", "127.0.0.1:1")

    assert ended.code == 1
    for name in ("BROKER_URL", "DATABASE_URL", "BLOB_URL", "STORAGE_TARGET"):
        assert f"set IMAGEMILL_{name}" in ended.out
    assert keeper.asks("migrate").code == 2
    assert keeper.asks("dead", "list").code == 2
    unreachable = keeper.asks("dead", "list", IMAGEMILL_BROKER_URL="amqp://mill:s3cret@127.0.0.1:1/")
    assert (unreachable.code, "s3cret" in unreachable.said) == (3, False)
