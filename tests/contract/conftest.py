"""The adapters behind each port; a new one is a line here and passes the suites unchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagemill.adapters.blobs import LocalBlobs
from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.adapters.originals import KeptOriginals, LocalOriginals, SlotOriginals
from imagemill.adapters.sql.sqlite import open_sqlite
from imagemill.ports.blobs import Blobs, Originals
from imagemill.ports.broker import Broker
from imagemill.ports.changes import Changes
from imagemill.ports.records import Records


@asynccontextmanager
async def memory_broker(folder: Path) -> AsyncIterator[Broker]:
    yield MemoryBroker()


@asynccontextmanager
async def sqlite_records(folder: Path) -> AsyncIterator[Records]:
    records = await open_sqlite(folder / "mill.db")
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


@contextmanager
def local_changes(folder: Path) -> Iterator[Changes]:
    yield LocalChanges()


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


BROKERS: list[Callable[[Path], AbstractAsyncContextManager[Broker]]] = [memory_broker]
RECORDS: list[Callable[[Path], AbstractAsyncContextManager[Records]]] = [sqlite_records]
BLOBS: list[Callable[[Path], AbstractContextManager[Blobs]]] = [local_blobs, durable_local_blobs]
ORIGINALS: list[Callable[[Path], AbstractContextManager[Lodging]]] = [slots, kept]
CHANGES: list[Callable[[Path], AbstractContextManager[Changes]]] = [local_changes]


@pytest.fixture(params=BROKERS, ids=lambda opened: opened.__name__)
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    async with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture(params=RECORDS, ids=lambda opened: opened.__name__)
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Records]:
    async with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture(params=BLOBS, ids=lambda opened: opened.__name__)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture(params=ORIGINALS, ids=lambda opened: opened.__name__)
def lodging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lodging]:
    with request.param(tmp_path) as opened:
        yield opened


@pytest.fixture(params=CHANGES, ids=lambda opened: opened.__name__)
def changes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Changes]:
    with request.param(tmp_path) as opened:
        yield opened
