"""The embedded mill as a whole: one at a time, taken up again, left clean."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from imagemill.embedded import EmbeddedSettings, MillInUse, StateUnreadable, open_mill
from imagemill.embedded.folder import socket_target
from imagemill.runtime.serving import dial
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub
from tests.support.eventually import eventually
from tests.support.picture_server import PictureServer, picture
from tests.unit.embedded.conftest import GOOD, PATIENCE_S, Desk, settings


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


async def enter(chosen: EmbeddedSettings) -> None:
    async with open_mill(chosen):
        pass


async def test_a_second_mill_is_kept_out_of_a_folder_in_use_and_let_in_afterwards(tmp_path: Path) -> None:
    async with open_mill(settings(tmp_path)):
        with pytest.raises(MillInUse):
            await enter(settings(tmp_path))

    async with asyncio.timeout(PATIENCE_S):
        await enter(settings(tmp_path))


async def test_what_a_mill_left_is_taken_up_by_the_next_and_nothing_done_is_done_again(tmp_path: Path) -> None:
    async with PictureServer() as server:
        async with open_mill(settings(tmp_path)) as first, dial(first.target) as channel:
            desk = Desk(BatchServiceStub(channel), channel, server)
            stuck = desk.stuck()
            batch = await desk.create("left", [*desk.good(3), stuck])

            async def three_are_done_and_one_runs() -> bool:
                return (await desk.get(batch.name)).progress.succeeded == 3 and server.open_now == 1

            await eventually(three_are_done_and_one_runs, timeout_s=PATIENCE_S)

        server.route("/stuck.jpg", picture(GOOD))
        async with open_mill(settings(tmp_path)) as second, dial(second.target) as channel:
            desk = Desk(BatchServiceStub(channel), channel, server)
            ended = await desk.until(batch.name, Batch.STATE_COMPLETED)
            items = await desk.items(batch.name)

    assert ended.progress.succeeded == 4
    assert [item.attempts for item in items] == [1] * 4
    assert {path: server.requests[path] for path in server.requests} == {
        "/good-0.jpg": 1, "/good-1.jpg": 1, "/good-2.jpg": 1, "/stuck.jpg": 2,
    }  # fmt: skip


async def test_a_mill_leaves_its_records_and_its_pictures_and_nothing_else(tmp_path: Path) -> None:
    async with PictureServer() as server, open_mill(settings(tmp_path)) as mill, dial(mill.target) as channel:
        desk = Desk(BatchServiceStub(channel), channel, server)
        await desk.finished("clean", desk.good(2))
        renders = [mill.blob_path(item.renders[0].key) for item in await desk.items("batches/clean")]

    assert files_in(tmp_path) == {*renders, tmp_path / "mill.db", tmp_path / "lock"}


async def test_a_folder_that_can_not_be_written_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(StateUnreadable, match="can't be written"):
        await enter(settings(tmp_path / "file" / "mill"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no database at all" * 100, "it is no database, or damaged"), (None, "newer than this version knows")],
)
async def test_a_database_that_is_none_or_another_versions_is_refused_in_words(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / "mill.db").write_bytes(content)
    else:
        await enter(settings(tmp_path))
        with closing(sqlite3.connect(tmp_path / "mill.db")) as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
            database.commit()

    with pytest.raises(StateUnreadable, match=reason):
        await enter(settings(tmp_path))


def test_a_socket_in_a_folder_whose_name_is_no_text_is_named_in_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()

    with socket_target(folder, "mill") as target:
        assert target.isascii()
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(target.removeprefix("unix:"))
            assert (folder / "mill.sock").is_socket()


def test_a_socket_fits_however_long_the_folders_path_is(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)

    with socket_target(deep, "mill") as long, socket_target(tmp_path, "m") as short:
        assert len(long.removeprefix("unix:")) < 108
        assert short == f"unix:{tmp_path}/m.sock"
