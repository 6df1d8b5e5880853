"""Killed at the moments where a crash could hurt most: at the start, while the list is taken in, at the very end."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from imagemill.domain.batches import BatchState
from tests.support import pictures
from tests.support.eventually import eventually_blocking
from tests.support.house import House
from tests.support.picture_server import picture
from tests.support.processes import Program

GOOD = 20
LONG = 30_000
"""Lines whose intake and whose manifest take long enough to be caught at."""


def good(house: House, number: int = GOOD) -> list[str]:
    photo = pictures.jpeg()
    return [house.server.route(f"/{n}.jpg", picture(pictures.numbered(photo, n))) for n in range(number)]


def long_list(house: House) -> None:
    """Write a list of a few good lines and very many that fail without a request."""
    house.write_list([*good(house), *(f"htp//127.0.0.1/{n}.jpg" for n in range(LONG))])


def kill(program: Program) -> None:
    program.send_group(signal.SIGKILL)
    ended = program.ended(5.0)
    assert ended.code == -signal.SIGKILL, ended.said
    eventually_blocking(lambda: not program.family(), timeout_s=1.0)


def expect_the_long_list_done(house: House, most_requests: int) -> None:
    rows = house.manifest()
    assert [int(row["index"]) for row in rows] == list(range(GOOD + LONG))
    assert [row["state"] for row in rows] == ["SUCCEEDED"] * GOOD + ["FAILED"] * LONG
    truth = house.truth()
    assert truth.counts == truth.counted
    assert truth.batch is BatchState.COMPLETED
    assert house.leftovers() == []
    assert house.requests().total() <= most_requests


MOMENTS: dict[str, Callable[[House], bool]] = {
    "at the first sign of life": lambda house: house.out.exists(),
    "when the lock is taken": lambda house: (house.out / ".imagemill" / "lock").exists(),
    "when the database is being made": lambda house: (house.out / ".imagemill" / "mill.db").exists(),
    "when the places for originals are there": lambda house: (house.out / ".imagemill" / "slots").exists(),
    "when the first row is there": lambda house: bool(house.truth().states),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_the_start_leaves_nothing_in_the_way(house: House, moment: str) -> None:
    house.write_list(good(house))
    starting = house.start()
    starting.wait_until(lambda: MOMENTS[moment](house))
    kill(starting)

    ended = house.run()

    assert ended.code == 0, ended.said
    assert [row["state"] for row in house.manifest()] == ["SUCCEEDED"] * GOOD
    assert house.leftovers() == []


def test_a_kill_while_the_list_is_taken_in_loses_and_doubles_no_line(house: House) -> None:
    long_list(house)
    receiving = house.start()
    receiving.wait_until(lambda: len(house.truth().states) >= LONG // 4)
    kill(receiving)
    struck = house.truth()
    assert struck.batch is BatchState.RECEIVING
    assert 0 < len(struck.states) < LONG
    assert house.requests() == {}, "work began before the list was complete"

    ended = house.run()

    assert ended.code == 1, ended.said
    expect_the_long_list_done(house, most_requests=GOOD)


def test_a_kill_while_the_manifest_is_written_leaves_the_next_one_whole(house: House) -> None:
    long_list(house)
    part = house.out / ".imagemill" / "manifest.csv.tmp"
    writing = house.start()
    writing.wait_until(lambda: part.exists() and part.stat().st_size > 0)
    kill(writing)
    assert part.exists()
    assert not (house.out / "manifest.csv").exists()

    ended = house.run()

    assert ended.code == 1, ended.said
    assert "done already" in ended.out
    expect_the_long_list_done(house, most_requests=GOOD)


def test_a_killed_rerun_of_a_finished_list_leaves_the_old_manifest_in_place(house: House) -> None:
    long_list(house)
    assert house.run().code == 1
    before = (house.out / "manifest.csv").read_bytes()
    part = house.out / ".imagemill" / "manifest.csv.tmp"

    writing = house.start()
    writing.wait_until(part.exists)
    kill(writing)

    assert (house.out / "manifest.csv").read_bytes() == before
