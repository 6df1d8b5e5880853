"""A disk that refuses: the command says what is wrong, loses nothing, and goes on once the disk lets it."""

from __future__ import annotations

import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support import pictures
from tests.support.house import COMMAND, House
from tests.support.picture_server import picture, slow
from tests.support.processes import Program

ITEMS = 100
PHOTO = pictures.jpeg()
POWERLESS = (sys.executable, "-m", "tests.scenarios.powerless", *COMMAND)


def write_list(house: House) -> None:
    replies = [slow(pictures.numbered(PHOTO, n), len(PHOTO) * 10) for n in range(ITEMS)]
    house.write_list(house.server.route(f"/{n}.jpg", reply) for n, reply in enumerate(replies))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take away everybody's right to write into `folder`."""
    before = stat.S_IMODE(folder.stat().st_mode)
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(before)


@contextmanager
def full_beyond(process: psutil.Process, size: int) -> Iterator[None]:
    """Let `process` write to no file beyond its first `size` bytes, as if the disk were full."""
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    assert before is not None
    process.rlimit(psutil.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        if process.is_running():
            process.rlimit(psutil.RLIMIT_FSIZE, before)


def first_process(program: Program) -> psutil.Process:
    return psutil.Process(program.pid)


def test_an_output_folder_that_is_read_only_is_refused_before_anything_is_fetched(house: House) -> None:
    write_list(house)
    house.out.mkdir()

    with read_only(house.out):
        ended = house.start(command=POWERLESS).ended()

    assert ended.code == 2, ended.said
    assert str(house.out) in ended.err
    assert "permission" in ended.err.lower()
    assert "Traceback" not in ended.said
    assert house.requests() == {}


def test_an_output_folder_that_becomes_read_only_stops_the_run_and_the_next_one_finishes(house: House) -> None:
    write_list(house)
    running = house.start(command=POWERLESS)
    running.wait_until(lambda: len(house.truth().final) >= ITEMS // 5)

    with read_only(house.out):
        ended = running.ended()

    assert ended.code == 70, ended.said
    assert "can't be put into the output folder: Permission denied." in ended.err
    assert "run the same command again" in ended.err
    finished = house.truth().final
    asked = house.requests()
    assert house.run().code == 0
    assert [row["state"] for row in house.manifest()] == ["SUCCEEDED"] * ITEMS
    assert all((house.out / row["fit-256"]).is_file() for row in house.manifest())
    assert all(house.requests()[f"/{n}.jpg"] == asked[f"/{n}.jpg"] for n in finished)
    assert house.leftovers() == []


def test_a_full_disk_for_the_database_is_waited_out_and_nothing_is_lost(house: House) -> None:
    write_list(house)
    running = house.start()
    running.wait_until(lambda: len(house.truth().final) >= ITEMS // 5)

    with full_beyond(first_process(running), 16_384):
        running.wait_until(lambda: "events wait for the database" in house.log())
        stuck = house.truth()
    ended = running.ended()

    assert len(stuck.final) < ITEMS
    assert ended.code == 0, ended.said
    assert "its disk may be full" in ended.out
    assert [row["state"] for row in house.manifest()] == ["SUCCEEDED"] * ITEMS
    truth = house.truth()
    assert truth.counts == truth.counted
    assert house.leftovers() == []


def test_a_run_killed_while_the_disk_is_full_goes_on_when_there_is_room(house: House) -> None:
    write_list(house)
    running = house.start()
    running.wait_until(lambda: len(house.truth().final) >= ITEMS // 5)
    with full_beyond(first_process(running), 16_384):
        running.wait_until(lambda: "events wait for the database" in house.log())
        running.send_group(signal.SIGKILL)
        assert running.ended(5.0).code == -signal.SIGKILL

    ended = house.run()

    assert ended.code == 0, ended.said
    assert [row["state"] for row in house.manifest()] == ["SUCCEEDED"] * ITEMS
    assert house.leftovers() == []


def test_a_download_that_does_not_fit_on_the_disk_is_tried_again(house: House) -> None:
    # given small pictures, and one too large for the room that is left
    large = pictures.jpeg(3000, 2000) + bytes(3_000_000)
    lines = [house.server.route(f"/{n}.jpg", picture(pictures.numbered(PHOTO, n))) for n in range(10)]
    house.write_list([*lines, house.server.route("/large.jpg", slow(large, len(large) * 2))])
    running = house.start()
    running.wait_until(lambda: house.server.requests["/large.jpg"] == 1)

    # when there is no room for its first attempt
    with full_beyond(first_process(running), 1_000_000):
        running.wait_until(lambda: house.server.requests["/large.jpg"] == 2)
    ended = running.ended()

    # expect the next one to succeed
    assert ended.code == 0, ended.said
    assert [row["attempts"] for row in house.manifest()] == ["1"] * 10 + ["2"]


def test_renders_that_can_not_be_written_fail_their_items_with_the_disks_code(house: House) -> None:
    write_list(house)
    running = house.start("--children", "1", "--retries", "0")
    running.wait_until(lambda: bool(running.children()))
    (renderer,) = running.children()

    with full_beyond(renderer, 100):
        running.wait_until(lambda: len(house.truth().final) >= ITEMS // 2)
    ended = running.ended()

    assert ended.code == 1, ended.said
    rows = house.manifest()
    failed = [row for row in rows if row["state"] == "FAILED"]
    assert 0 < len(failed) < ITEMS
    assert {row["error_code"] for row in failed} <= {"STORE_FULL", "STORE_UNAVAILABLE"}
    assert all(row["error_message"] and not row["fit-256"] for row in failed)
    assert house.leftovers() == []
