"""A mill whose pictures lie in an object store: the same services, on a server that speaks S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image

from tests.scenarios.under_load import begin, expect_every_item_ended_once
from tests.support import pictures
from tests.support.cluster import IMAGEMILL, Cluster, open_cluster
from tests.support.object_front import Front, front_before
from tests.support.object_store import SECRET, ObjectServer
from tests.support.picture_server import picture, serve_in_thread
from tests.support.processes import Ended, Program
from tests.support.services_house import ServicesHouse


class ObjectCluster(Cluster):
    """Services that keep their pictures in an object store."""

    server: ObjectServer
    url: str

    def stored(self, prefix: str = "batches/") -> list[str]:
        """The keys in the object store."""
        return [key for key in self.server.keys(self.url) if key.startswith(prefix)]

    def scratch(self) -> list[Path]:
        """Files that somebody has left half done."""
        return [path for path in (self.folder / "tmp").rglob("*") if path.is_file()]


class Store:
    """A front before the store, through which the mill and its commands reach it, and what it does."""

    front: Front
    answers: int | None = None
    """What it answers to everything; None when the store itself does."""


@pytest.fixture
def store(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    store = Store()
    with front_before(object_server.port, lambda _, __: store.answers) as front:
        store.front = front
        for name, value in {**object_server.environment, "AWS_ENDPOINT_URL": front.endpoint}.items():
            monkeypatch.setenv(name, value)
        yield store


@pytest.fixture
def house(
    tmp_path: Path,
    store: Store,
    object_server: ObjectServer,
    rabbitmq_server: str,
    postgres_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ServicesHouse]:
    folder, url = tmp_path / "mill", object_server.url()
    (folder / "tmp").mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    with ExitStack() as stack:
        server = stack.enter_context(serve_in_thread())
        told = {"BLOB_URL": url}
        cluster = stack.enter_context(
            open_cluster(folder, rabbitmq_server, postgres_server, told=told, kind=ObjectCluster)
        )
        assert isinstance(cluster, ObjectCluster)
        cluster.server, cluster.url = object_server, url
        house = ServicesHouse(tmp_path, server, cluster)
        yield house
        for program in house.programs:
            program.destroy()


def asks(house: ServicesHouse, *words: str) -> Ended:
    """Run a command of the mill to its end."""
    environment = house.cluster.environment("storage-1")
    program = Program([IMAGEMILL, *words, "--to", house.cluster.target], house.folder, environment=environment)
    house.programs.append(program)
    return program.ended()


def says(program: Program, words: str) -> None:
    program.wait_until(lambda: words in program.err, 40.0)


def test_services_are_killed_and_the_store_is_away_and_nothing_is_lost(house: ServicesHouse, store: Store) -> None:
    load = begin(house, 150)
    for number, service in enumerate(("processor", "downloader", "storage"), 1):
        load.until_final(number * 0.2)
        load.note_strike()
        house.cluster.kill(f"{service}-1")
        house.cluster.start(f"{service}-1")
    load.until_final(0.7)
    load.note_strike()
    store.answers = 503
    says(house.cluster.programs["processor-1"], "it answers with 503")
    store.answers = None

    expect_every_item_ended_once(load)
    assert SECRET not in house.log()
    assert "Traceback" not in house.log()


def test_whoever_asks_for_links_gets_the_pictures(house: ServicesHouse) -> None:
    large = pictures.jpeg(800, 400, seed=1)
    house.write_list(house.server.route(path, picture(large)) for path in ("/a.jpg", "/twin.jpg"))
    house.open()
    house.note(house.submit("--watch").ended())

    items = [json.loads(line) for line in asks(house, "items", house.batch, "--links", "-o", "json").out.splitlines()]
    plain = asks(house, "items", house.batch, "-o", "json").out
    shown = asks(house, "items", house.batch, "--link-hours", "1").out
    refused = asks(house, "items", house.batch, "--links", "--link-hours", "169")

    links = [render["url"] for item in items for render in item["renders"]]
    assert len(links) == 2
    for link in links:
        with urlopen(link) as answer:
            assert answer.headers["Content-Type"] == "image/jpeg"
            found = Image.open(BytesIO(answer.read()))
            assert (found.format, found.size) == ("JPEG", (256, 128))
    assert '"url"' not in plain
    assert shown.count("X-Amz-Expires=3600&") == 2
    assert (refused.code, "give a number from 1 to 168" in refused.err) == (2, True), refused.said
    assert SECRET not in json.dumps(items) + house.log()


def test_a_store_that_refuses_is_awaited_and_the_doctor_says_what_is_wrong(house: ServicesHouse, store: Store) -> None:
    store.answers = 403
    house.cluster.start()
    for member in ("storage-1", "downloader-1", "processor-1"):
        says(house.cluster.programs[member], "the credentials may not do this there")
        assert house.cluster.serves(member) is False
    doctor = asks(house, "doctor")
    assert doctor.code == 1
    assert "can't be used: the credentials may not do this there" in doctor.out
    assert "credentials that may list, read, write and delete" in " ".join(doctor.out.split())

    store.answers = None

    house.cluster.until_serving()
    assert asks(house, "doctor").code == 0
    house.write_list([house.server.route("/a.jpg", picture(pictures.jpeg(80, 60)))])
    assert house.submit("--watch").ended().code == 0
    assert house.leftovers() == []
    assert SECRET not in house.log() + doctor.said
