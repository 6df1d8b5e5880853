"""What the keeper of a mill of several processes asks: its parts, its tables, its dead letters, its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import aio_pika
import pytest

from imagemill.adapters.sql.revisions import COMPATIBLE_FROM, REVISION
from imagemill.ports.broker import Queue
from tests.support import pictures
from tests.support.cluster import IMAGEMILL
from tests.support.eventually import eventually_blocking
from tests.support.newer_tables import NEWER, STEP, run_statements
from tests.support.picture_server import picture
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


def test_the_folder_of_a_batch_is_made_from_the_blob_store(
    services: ServicesHouse, keeper: Keeper, tmp_path: Path
) -> None:
    urls = [services.server.route(f"/{n}.jpg", picture(pictures.jpeg(160 + n, 120))) for n in range(3)]
    services.write_list([*urls, services.server.url("/gone.jpg")])
    assert services.run().code == 1
    to = ("--to", services.cluster.target)
    out = tmp_path / "collected"
    stored = set(services.cluster.blobs.rglob("*"))

    for _ in range(2):
        ended = keeper.asks("collect", services.batch, "-o", str(out), *to)
        assert (ended.code, ended.out) == (0, f"{services.batch}: 3 of 4 items succeeded.\nPictures: {out}\n")
        assert {path.name: path.read_bytes() for path in out.iterdir()} == {
            path.name: path.read_bytes() for path in services.out.iterdir()
        }
    assert set(services.cluster.blobs.rglob("*")) == stored, "who collects need not be allowed to write there"

    elsewhere = keeper.asks("collect", services.batch, "-o", str(out), *to, IMAGEMILL_BLOB_URL="file:///no/such/folder")
    assert (elsewhere.code, "/no/such/folder" in elsewhere.err) == (2, True)
    assert keeper.asks("collect", "no-such-batch", "-o", str(out), *to).code == 2
    assert keeper.asks("collect", services.batch, "-o", str(out), "--to", "127.0.0.1:1").code == 3

    report = out / "report.json"
    report.write_text(report.read_text().replace(services.batch, "batches/another"))
    mixed = keeper.asks("collect", services.batch, "-o", str(out), *to)
    assert (mixed.code, "holds what became of batches/another" in mixed.err) == (2, True)
    report.write_text("mine")
    foreign = keeper.asks("collect", services.batch, "-o", str(out), *to)
    assert (foreign.code, report.read_text(), "was not made by imagemill" in foreign.err) == (2, "mine", True)
    report.unlink()
    for stored_file in (path for path in services.cluster.blobs.rglob("*.jpg")):
        stored_file.unlink()
    (out / next(path.name for path in out.glob("*.jpg"))).unlink()
    gone = keeper.asks("collect", services.batch, "-o", str(out), *to)
    assert (gone.code, "hand the list in as a new batch" in gone.err) == (70, True)


def test_a_service_says_whether_it_has_all_that_it_needs(services: ServicesHouse, keeper: Keeper) -> None:
    gateway = services.cluster.target

    well = keeper.asks("health", "--to", gateway)
    of_one = keeper.asks("health", "--to", gateway, "--service", "imagemill.v1.BatchService")
    of_another = keeper.asks("health", "--to", gateway, "--service", "imagemill.v1.StorageService")
    away = keeper.asks("health", "--to", "127.0.0.1:1")
    services.cluster.stop("storage-1")
    services.cluster.programs["gateway-1"].wait_until(lambda: not services.cluster.serves("gateway-1"))
    lacking = keeper.asks("health", "--to", gateway)

    assert [(ended.code, ended.out) for ended in (well, of_one)] == [(0, "SERVING\n")] * 2
    assert [(ended.code, ended.out) for ended in (of_another, away, lacking)] == [(1, "")] * 3
    assert f"What answers at {gateway} is another service." in of_another.err
    assert "Nothing answers at 127.0.0.1:1" in away.err
    assert "lacks a part itself" in lacking.err


def test_tables_are_made_once(postgres_server: str, tmp_path: Path) -> None:
    with own_schema(postgres_server) as url:
        keeper = Keeper(tmp_path, {"IMAGEMILL_DATABASE_URL": url})
        waiting, made, again = keeper.asks("doctor"), keeper.asks("migrate"), keeper.asks("migrate", "-o", "json")

    assert "has no tables yet; run `imagemill migrate`" in waiting.out
    assert (made.code, made.out) == (
        0, f"The database has been brought from nothing to revision {REVISION}. "
        f"Versions that need {COMPATIBLE_FROM} or later can work on it.\n"
    )  # fmt: skip
    assert json.loads(again.out) == {"before": REVISION, "after": REVISION, "compatible_from": COMPATIBLE_FROM}


def test_tables_of_a_newer_version_are_told_of_and_left_alone(postgres_server: str, tmp_path: Path) -> None:
    with own_schema(postgres_server) as url:
        keeper = Keeper(tmp_path, {"IMAGEMILL_DATABASE_URL": url})
        assert keeper.asks("migrate").code == 0
        run_statements(url, STEP)
        fit, looked_at = keeper.asks("migrate"), keeper.asks("migrate", "-o", "json")
        seen, found = keeper.asks("doctor"), keeper.asks("doctor", "-o", "json")
        run_statements(url, f"UPDATE compatibility SET compatible_from = '{NEWER}'")
        unfit, unfit_seen = keeper.asks("migrate"), keeper.asks("doctor")

    remark = f"tables of revision {NEWER}, newer than this version's {REVISION}, and compatible from {REVISION} on"
    assert (fit.code, fit.out) == (0, f"The database has {remark}. Nothing to do.\n")
    assert json.loads(looked_at.out) == {"before": NEWER, "after": NEWER, "compatible_from": REVISION}
    assert f"The database has {remark}." in " ".join(seen.out.split())
    parts = {part["part"]: part for part in map(json.loads, found.out.splitlines())}
    told = {name: parts["database"][name] for name in ("ok", "revision", "compatible_from")}
    assert told == {"ok": True, "revision": NEWER, "compatible_from": REVISION}
    assert unfit.code == 3
    assert "use a newer Imagemill" in unfit.err
    assert "use a newer Imagemill" in unfit_seen.out


def test_parts_that_nobody_has_named_are_asked_for(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, {})

    ended = keeper.asks("doctor", "--to", "127.0.0.1:1")

    assert ended.code == 1
    for name in ("BROKER_URL", "DATABASE_URL", "BLOB_URL", "STORAGE_TARGET"):
        assert f"set IMAGEMILL_{name}" in ended.out
    assert keeper.asks("migrate").code == 2
    assert keeper.asks("dead", "list").code == 2
    assert keeper.asks("dead", "list", "--limit", "-5").err.startswith("imagemill: --limit -5: give a number from 0")
    unreachable = keeper.asks("dead", "list", IMAGEMILL_BROKER_URL="amqp://mill:s3cret@127.0.0.1:1/")
    assert (unreachable.code, "s3cret" in unreachable.said) == (3, False)
