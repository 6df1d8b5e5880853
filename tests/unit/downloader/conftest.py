from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from imagemill.http import GuardedClient
from tests.support.fence import Fence, fenced
from tests.support.picture_server import PictureServer
from tests.unit.downloader.trying import SETTINGS, Pauses


@pytest.fixture(autouse=True)
def fence() -> Iterator[Fence]:
    with fenced() as fence:
        yield fence


@pytest.fixture
async def server(fence: Fence) -> AsyncIterator[PictureServer]:
    async with PictureServer() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    async with GuardedClient(SETTINGS) as client:
        yield client


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[io.FileIO]:
    with io.FileIO(tmp_path / "slot", "w+") as sink:
        yield sink


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()
