"""The adapters behind each port; a new one is a line here and passes the suites unchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import pytest

from imagemill.adapters.blobs import LocalBlobs
from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.adapters.originals import KeptOriginals, LocalOriginals, SlotOriginals
from imagemill.adapters.postgres_changes import open_postgres_changes
from imagemill.adapters.rabbitmq import open_rabbitmq
from imagemill.adapters.sql.postgres import migrate_postgres, open_postgres
from imagemill.adapters.sql.sqlite import open_sqlite
from imagemill.ports.blobs import Blobs, Originals
from imagemill.ports.broker import Broker, Queue
from imagemill.ports.changes import Changes
from imagemill.ports.records import Records
from tests.support.postgres_node import own_schema, run_apart, run_sql


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
async def closing(records: Records) -> AsyncIterator[Records]:
    try:
        yield records
    finally:
        await records.close()


@contextmanager
def local_blobs(folder: Path) -> Iterator[Blobs]:
    yield LocalBlobs(folder)


@contextmanager
def durable_local_blobs(folder: Path) -> Iterator[Blobs]:
    yield LocalBlobs(folder, survive_power_loss=True)


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


@contextmanager
def slots(folder: Path) -> Iterator[Lodging]:
    reused = SlotOriginals(folder / "slots", 2)
    yield Lodging(LocalOriginals(reused, KeptOriginals(LocalBlobs(folder))), durable=False)
    reused.close()


@contextmanager
def kept(folder: Path) -> Iterator[Lodging]:
    reused = SlotOriginals(folder / "slots", 2)
    yield Lodging(LocalOriginals(reused, KeptOriginals(LocalBlobs(folder))), durable=True)
    reused.close()


BROKERS: list[Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Broker]]] = [memory_broker, rabbitmq_broker]
RECORDS: list[Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Records]]] = [
    sqlite_records,
    postgres_records,
]
BLOBS: list[Callable[[Path], AbstractContextManager[Blobs]]] = [local_blobs, durable_local_blobs]
ORIGINALS: list[Callable[[Path], AbstractContextManager[Lodging]]] = [slots, kept]
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


@pytest.fixture
def postgres_url(postgres_schema: str) -> str:
    """The URL of a database without rows."""
    run_sql(postgres_schema, "TRUNCATE items, batches, claims")
    return postgres_schema


@pytest.fixture(params=BLOBS, ids=lambda opened: opened.__name__)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture(params=ORIGINALS, ids=lambda opened: opened.__name__)
def lodging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lodging]:
    with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture(params=CHANGES, ids=lambda opened: opened.__name__)
async def changes(request: pytest.FixtureRequest) -> AsyncIterator[Changes]:
    async with request.param(request) as opened:
        yield opened
