"""The adapters behind each port; a new one is a line here and passes the suites unchanged."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
)
from contextlib import (
    closing as closing_blobs,
)
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import pytest
from obstore.store import MemoryStore

from imagemill.adapters.blobs import LocalBlobs
from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.adapters.object_blobs import ObjectBlobs, open_object_blobs
from imagemill.adapters.originals import KeptOriginals, LocalOriginals, SlotOriginals
from imagemill.adapters.postgres_changes import open_postgres_changes
from imagemill.adapters.rabbitmq import open_rabbitmq
from imagemill.adapters.sql.postgres import migrate_postgres, open_postgres
from imagemill.adapters.sql.sqlite import migrate_sqlite, open_sqlite
from imagemill.ports.blobs import Blobs, Originals
from imagemill.ports.broker import Broker, Queue
from imagemill.ports.changes import Changes
from imagemill.ports.records import Records
from tests.support.newer_tables import STEP, run_statements
from tests.support.object_store import ObjectServer
from tests.support.postgres_node import own_schema, run_apart, run_sql

EMPTY = "TRUNCATE items, batches, claims, epochs"


@asynccontextmanager
async def memory_broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    yield MemoryBroker()


@asynccontextmanager
async def rabbitmq_broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    url = request.getfixturevalue("rabbitmq_server")
    async with open_rabbitmq(url) as opened:
        await opened.check()
        await purge(url)
        yield opened


async def purge(url: str) -> None:
    """Take away what an earlier test has left on the queues."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for name in (f"{queue}{kind}" for queue in Queue for kind in ("", ".dead", ".buried")):
            await (await channel.get_queue(name, ensure=False)).purge()


@asynccontextmanager
async def sqlite_records(request: pytest.FixtureRequest) -> AsyncIterator[Records]:
    async with closing(await open_sqlite(request.getfixturevalue("tmp_path") / "mill.db")) as records:
        yield records


@asynccontextmanager
async def postgres_records(request: pytest.FixtureRequest) -> AsyncIterator[Records]:
    async with closing(await open_postgres(request.getfixturevalue("postgres_url"), 4)) as records:
        yield records


@asynccontextmanager
async def sqlite_records_on_newer_tables(request: pytest.FixtureRequest) -> AsyncIterator[Records]:
    path = request.getfixturevalue("tmp_path") / "mill.db"
    await migrate_sqlite(path)
    run_statements(f"sqlite:///{path}", STEP)
    async with closing(await open_sqlite(path)) as records:
        yield records


@asynccontextmanager
async def postgres_records_on_newer_tables(request: pytest.FixtureRequest) -> AsyncIterator[Records]:
    url = request.getfixturevalue("newer_postgres_schema")
    run_sql(url, EMPTY)
    async with closing(await open_postgres(url, 4)) as records:
        yield records


@asynccontextmanager
async def closing(records: Records) -> AsyncIterator[Records]:
    try:
        yield records
    finally:
        await records.close()


OpenBlobs = Callable[[], Blobs]
"""Opens one and the same store, as often as it is asked."""


def local_blobs(request: pytest.FixtureRequest) -> OpenBlobs:
    folder = request.getfixturevalue("tmp_path") / "blobs"
    return lambda: LocalBlobs(folder)


def durable_local_blobs(request: pytest.FixtureRequest) -> OpenBlobs:
    folder = request.getfixturevalue("tmp_path") / "blobs"
    return lambda: LocalBlobs(folder, survive_power_loss=True)


def write_below(request: pytest.FixtureRequest) -> None:
    """Have scratch files written below the test's own folder."""
    request.getfixturevalue("monkeypatch").setattr(tempfile, "tempdir", str(request.getfixturevalue("tmp_path")))


def memory_blobs(request: pytest.FixtureRequest) -> OpenBlobs:
    store = MemoryStore()
    write_below(request)
    return lambda: ObjectBlobs(store, "memory:")


def s3_blobs(request: pytest.FixtureRequest) -> OpenBlobs:
    server: ObjectServer = request.getfixturevalue("s3")
    url = server.url()
    write_below(request)
    return lambda: open_object_blobs(url)


@asynccontextmanager
async def local_changes(request: pytest.FixtureRequest) -> AsyncIterator[Changes]:
    yield LocalChanges()


@asynccontextmanager
async def postgres_changes(request: pytest.FixtureRequest) -> AsyncIterator[Changes]:
    async with open_postgres_changes(request.getfixturevalue("postgres_schema"), LocalChanges()) as changes:
        yield changes


@dataclass(frozen=True, slots=True)
class Lodging:
    """Originals of one kind."""

    originals: Originals
    durable: bool
    """What kind of draft the suite asks for."""
    blobs: Blobs
    """Where durable ones lie."""


@contextmanager
def lodging_in(blobs: Blobs, folder: Path, *, durable: bool) -> Iterator[Lodging]:
    reused = SlotOriginals(folder / "slots", 2)
    yield Lodging(LocalOriginals(reused, KeptOriginals(blobs)), durable, blobs)
    reused.close()


def given_blobs(url: str) -> Callable[[pytest.FixtureRequest], OpenBlobs]:
    """A store that whoever runs the tests has named, with the environment that it takes: a real one, or an emulator."""

    def open_given(request: pytest.FixtureRequest) -> OpenBlobs:
        write_below(request)
        place = f"{url}/{uuid.uuid4().hex}"
        return lambda: open_object_blobs(place)

    open_given.__name__ = url
    return open_given


GIVEN = [given_blobs(url) for url in os.environ.get("IMAGEMILL_TEST_BLOB_URLS", "").split()]

BROKERS: list[Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Broker]]] = [memory_broker, rabbitmq_broker]
RECORDS: list[Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Records]]] = [
    sqlite_records,
    postgres_records,
    sqlite_records_on_newer_tables,
    postgres_records_on_newer_tables,
]
BLOBS: list[Callable[[pytest.FixtureRequest], OpenBlobs]] = [
    local_blobs,
    durable_local_blobs,
    memory_blobs,
    s3_blobs,
    *GIVEN,
]
ORIGINALS: list[tuple[Callable[[pytest.FixtureRequest], OpenBlobs], bool]] = [
    (local_blobs, False),
    (local_blobs, True),
    (memory_blobs, True),
    (s3_blobs, True),
    *((given, True) for given in GIVEN),
]
CHANGES: list[Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Changes]]] = [
    local_changes,
    postgres_changes,
]


@pytest.fixture(params=BROKERS, ids=lambda opened: opened.__name__)
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with request.param(request) as opened:
        yield opened


@pytest.fixture(params=RECORDS, ids=lambda opened: opened.__name__)
async def records(request: pytest.FixtureRequest) -> AsyncIterator[Records]:
    async with request.param(request) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres_schema(postgres_server: str) -> Iterator[str]:
    """The URL of a place for tables, of this run alone, with the tables made."""
    with own_schema(postgres_server) as own:
        run_apart(migrate_postgres(own))
        yield own


@pytest.fixture(scope="session")
def newer_postgres_schema(postgres_server: str) -> Iterator[str]:
    """The same with tables of a version to come, which this one can work on."""
    with own_schema(postgres_server) as own:
        run_apart(migrate_postgres(own))
        run_statements(own, STEP)
        yield own


@pytest.fixture
def postgres_url(postgres_schema: str) -> str:
    """The URL of a database without rows."""
    run_sql(postgres_schema, EMPTY)
    return postgres_schema


@pytest.fixture
def s3(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """A server of S3, which this process's environment names."""
    for name, value in object_server.environment.items():
        monkeypatch.setenv(name, value)
    return object_server


@pytest.fixture(params=BLOBS, ids=lambda opened: opened.__name__)
def open_store(request: pytest.FixtureRequest) -> OpenBlobs:
    opened: OpenBlobs = request.param(request)
    return opened


@pytest.fixture
def blobs(open_store: OpenBlobs) -> Iterator[Blobs]:
    with closing_blobs(open_store()) as opened:
        yield opened


@pytest.fixture(params=ORIGINALS, ids=lambda kind: f"{kind[0].__name__}-{'kept' if kind[1] else 'slots'}")
def lodging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lodging]:
    open_kind, durable = request.param
    with closing_blobs(open_kind(request)()) as blobs, lodging_in(blobs, tmp_path, durable=durable) as opened:
        yield opened


@pytest.fixture(params=CHANGES, ids=lambda opened: opened.__name__)
async def changes(request: pytest.FixtureRequest) -> AsyncIterator[Changes]:
    async with request.param(request) as opened:
        yield opened
