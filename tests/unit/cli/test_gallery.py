"""The folders of a serving mill: filled, completed, left alone when whole, and patient where they can't be written."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from imagemill.cli import gallery
from imagemill.cli.bulletin import Bulletin
from imagemill.cli.gallery import Gallery
from imagemill.client import MillClient
from imagemill.embedded import open_mill
from imagemill.runtime.serving import dial
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch, Item
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub
from tests.support.eventually import eventually
from tests.support.picture_server import PictureServer, picture, status
from tests.unit.embedded.conftest import GOOD, Desk, settings


class Bench:
    """A mill in this process, and the gallery that is kept beside it."""

    def __init__(self, folder: Path, desk: Desk, store_target: str, blob_path: Callable[[str], Path]) -> None:
        self.desk = desk
        self.pictures = folder / "pictures"
        self.said = list[str]()
        self._folder = folder
        self._store_target = store_target
        self._blob_path = blob_path

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the gallery for as long as the context lasts."""
        async with MillClient(self._store_target) as client:
            bulletin = Bulletin(self.said.append)
            self._gallery = Gallery(self.pictures, self._folder, self._blob_path, client, bulletin)
            task = asyncio.create_task(self._gallery.keep())
            try:
                yield
                assert not task.done()
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def heard_of_end(self, batch: str) -> int:
        """The revision of a batch's last end that the gallery has heard of."""
        return self._gallery._ended.get(f"batches/{batch}", -1)

    def whole(self, batch: str) -> bool:
        return (self.pictures / batch / "report.json").exists()

    def names(self, batch: str) -> set[str]:
        return {path.name for path in (self.pictures / batch).iterdir()}


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(gallery, "RETRY_S", 0.05)
    async with PictureServer() as server, open_mill(settings(tmp_path / "mill")) as mill, dial(mill.target) as channel:
        desk = Desk(BatchServiceStub(channel), channel, server)
        yield Bench(tmp_path, desk, mill.store_target, mill.blob_path)


async def test_a_batch_gets_a_folder_that_ends_with_its_report(bench: Bench) -> None:
    async with bench.kept():
        await bench.desk.create("a", bench.desk.good(3))
        await eventually(lambda: bench.whole("a"))

    assert len(bench.names("a")) == 3 + 2
    assert json.loads((bench.pictures / "a" / "report.json").read_text())["counts"]["succeeded"] == 3
    assert bench.said[-1].endswith(f" → {bench.pictures / 'a'}")


async def test_what_ended_while_nobody_kept_the_gallery_is_placed_at_the_next_start(bench: Bench) -> None:
    await bench.desk.finished("a", bench.desk.good(2))

    async with bench.kept():
        await eventually(lambda: bench.whole("a"))

    assert len(bench.names("a")) == 2 + 2


async def test_a_folder_that_is_whole_is_left_alone(bench: Bench) -> None:
    await bench.desk.finished("a", bench.desk.good(2))
    async with bench.kept():
        await eventually(lambda: bench.whole("a"))
    manifest = bench.pictures / "a" / "manifest.csv"
    manifest.write_text("mine now")
    bench.said.clear()

    async with bench.kept():
        await bench.desk.create("b", bench.desk.good(1, "b"))
        await eventually(lambda: bench.whole("b"))

    assert manifest.read_text() == "mine now"
    assert not [line for line in bench.said if line.startswith("a ")]


async def test_pictures_of_a_batch_at_work_that_are_missing_are_placed_before_it_ends(bench: Bench) -> None:
    stuck = bench.desk.stuck()
    await bench.desk.create("a", [*bench.desk.good(2), stuck])

    async def two_are_done() -> bool:
        return (await bench.desk.get("batches/a")).progress.succeeded == 2

    await eventually(two_are_done)
    async with bench.kept():
        await eventually(lambda: (bench.pictures / "a").exists() and len(bench.names("a")) == 2)
        bench.desk.server.route("/stuck.jpg", picture(b"none"))

    assert not bench.whole("a")


async def test_a_folder_in_the_way_is_told_once_and_tried_until_it_is_gone(bench: Bench) -> None:
    bench.pictures.mkdir()
    (bench.pictures / "a").write_text("in the way")

    async with bench.kept():
        await bench.desk.finished("a", bench.desk.good(2))
        await eventually(lambda: any("can't be written" in line for line in bench.said))
        (bench.pictures / "a").unlink()
        await eventually(lambda: bench.whole("a"))

    assert sum("can't be written" in line for line in bench.said) == 1
    assert len(bench.names("a")) == 2 + 2


async def test_a_batch_that_ends_again_while_its_folder_is_completed_is_told_as_it_ended_last(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a long list takes a while, and meanwhile what failed may have been tried again."""
    read, released = asyncio.Event(), asyncio.Event()
    item_pages = MillClient.item_pages

    async def held(client: MillClient, *asked: Any, **how: Any) -> AsyncIterator[list[Item]]:
        async with aclosing(item_pages(client, *asked, **how)) as pages:
            async for page in pages:
                if not read.is_set():
                    read.set()
                    await released.wait()
                yield page

    monkeypatch.setattr(MillClient, "item_pages", held)
    async with bench.kept():
        await bench.desk.create("a", [*bench.desk.good(2), bench.desk.server.route("/late.jpg", status(404))])
        await read.wait()
        bench.desk.server.route("/late.jpg", picture(GOOD))
        await bench.desk.mill.RetryFailedItems(api.RetryFailedItemsRequest(name="batches/a"))
        ended = await bench.desk.until("batches/a", Batch.STATE_COMPLETED)
        await eventually(lambda: bench.heard_of_end("a") == ended.revision)
        released.set()
        await eventually(lambda: any("3 succeeded" in line for line in bench.said))

    report = json.loads((bench.pictures / "a" / "report.json").read_text())
    assert report["counts"]["succeeded"] == 3
    with (bench.pictures / "a" / "manifest.csv").open(newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["SUCCEEDED"] * 3
    assert not [line for line in bench.said if "can't be written" in line]
