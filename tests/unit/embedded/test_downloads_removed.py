"""Nothing of a download stays behind: not after success, failure or cancellation, nor after the mill's own end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagemill.embedded import open_mill
from imagemill.runtime.serving import dial
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub
from tests.support.eventually import eventually
from tests.support.picture_server import PictureServer, cut, gzipped, picture
from tests.unit.embedded.conftest import GOOD, PATIENCE_S, Desk, settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "mill"


@pytest.fixture
async def own_desk(home: Path) -> AsyncIterator[Desk]:
    async with PictureServer() as server, open_mill(settings(home)) as mill, dial(mill.target) as channel:
        yield Desk(BatchServiceStub(channel), channel, server)


def downloaded(home: Path) -> int:
    """Bytes of downloads that lie in the mill's folder, wherever they may be kept on their way."""
    places = [path for name in ("slots", "scratch") for path in (home / name).rglob("*")]
    return sum(path.stat().st_size for path in places if path.is_file())


async def test_nothing_stays_after_success(own_desk: Desk, home: Path) -> None:
    batch = await own_desk.finished("good", own_desk.good(30))

    assert batch.progress.succeeded == 30
    await eventually(lambda: downloaded(home) == 0)


async def test_nothing_stays_after_failure(own_desk: Desk, home: Path) -> None:
    broken = GOOD[:4] + bytes(200_000)
    route = own_desk.server.route
    urls = [
        route("/cut.jpg", cut(GOOD, len(GOOD) - 1)),
        route("/text.jpg", picture(b"no picture " * 1000)),
        route("/broken.jpg", picture(broken)),
        route("/bomb.jpg", gzipped(GOOD + bytes(110_000_000))),
    ]

    batch = await own_desk.finished("bad", urls)

    assert batch.progress.failed == 4
    await eventually(lambda: downloaded(home) == 0)


async def test_nothing_stays_after_cancellation(own_desk: Desk, home: Path) -> None:
    batch = await own_desk.create("stuck", [own_desk.stuck()])
    await eventually(lambda: downloaded(home) == 100, timeout_s=PATIENCE_S)

    await own_desk.mill.CancelBatch(api.CancelBatchRequest(name=batch.name))
    await own_desk.until(batch.name, Batch.STATE_CANCELLED)

    await eventually(lambda: downloaded(home) == 0)


async def test_nothing_stays_after_the_mills_own_end(home: Path) -> None:
    async with PictureServer() as server:
        async with open_mill(settings(home)) as mill, dial(mill.target) as channel:
            desk = Desk(BatchServiceStub(channel), channel, server)
            await desk.create("stuck", [desk.stuck()])
            await eventually(lambda: downloaded(home) == 100, timeout_s=PATIENCE_S)

        assert downloaded(home) == 0
        assert not (home / "slots").exists()
