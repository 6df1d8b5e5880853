"""A rendering process that dies or hangs costs one item one attempt, and nothing else."""

from __future__ import annotations

import signal
from collections import Counter

import psutil
import pytest

from imagemill.domain.items import State
from tests.support import pictures
from tests.support.eventually import eventually_blocking
from tests.support.house import House
from tests.support.picture_server import slow
from tests.support.processes import Program

ITEMS = 80


def write_list(house: House) -> None:
    photo = pictures.jpeg(1200, 900)
    # Slow enough for a test to meet the list half done.
    replies = [slow(pictures.numbered(photo, n), len(photo) * 10) for n in range(ITEMS)]
    house.write_list(house.server.route(f"/{n}.jpg", reply) for n, reply in enumerate(replies))


def wait_for_progress(house: House, running: Program, done: int) -> None:
    running.wait_until(lambda: len(house.truth().final) >= done and bool(running.children()))


def halted_renderer(house: House, running: Program, done: int = 5) -> psutil.Process:
    """Stop the only rendering process once `done` items are done, and wait until a picture is in its hands."""
    wait_for_progress(house, running, done)
    (renderer,) = running.children()
    renderer.send_signal(signal.SIGSTOP)
    running.wait_until(lambda: State.PROCESSING in house.truth().states.values())
    return renderer


def test_a_renderer_that_dies_costs_one_item_a_second_attempt(house: House) -> None:
    write_list(house)
    running = house.start("--children", "1")
    renderer = halted_renderer(house, running)

    renderer.kill()
    ended = running.ended()

    assert ended.code == 0, ended.said
    assert [row["state"] for row in house.manifest()] == ["SUCCEEDED"] * ITEMS
    assert Counter(row["attempts"] for row in house.manifest()) == {"1": ITEMS - 1, "2": 1}
    assert house.leftovers() == []


def test_a_renderer_that_hangs_fails_one_item_and_is_replaced(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    write_list(house)
    monkeypatch.setenv("IMAGEMILL_RENDER_TIMEOUT_S", "2")
    running = house.start("--children", "1")
    renderer = halted_renderer(house, running)

    ended = running.ended()

    assert ended.code == 1, ended.said
    assert Counter(row["error_code"] for row in house.manifest()) == {"": ITEMS - 1, "RENDER_TIMEOUT": 1}
    assert not renderer.is_running()
    assert house.leftovers() == []


def test_renderers_killed_again_and_again_lose_no_item(house: House) -> None:
    write_list(house)
    running = house.start()
    for killed in range(1, 6):
        wait_for_progress(house, running, 10 * killed)
        running.children()[0].kill()

    ended = running.ended()

    assert ended.code == 0, ended.said
    truth = house.truth()
    assert truth.counts == truth.counted
    assert [row["state"] for row in house.manifest()] == ["SUCCEEDED"] * ITEMS


def test_renderers_end_with_a_parent_that_is_killed_while_it_stands_still(house: House) -> None:
    write_list(house)
    running = house.start()
    wait_for_progress(house, running, 5)
    running.send(signal.SIGSTOP)
    assert running.children()

    running.send(signal.SIGKILL)

    assert running.ended(5.0).code == -signal.SIGKILL
    eventually_blocking(lambda: not running.family(), timeout_s=1.0)


def test_renders_that_a_killed_parent_did_not_take_are_cleared_away(house: House) -> None:
    # given a renderer that finishes a picture while its parent stands still
    write_list(house)
    running = house.start("--children", "1")
    renderer = halted_renderer(house, running, ITEMS * 2 // 3)
    running.send(signal.SIGSTOP)
    renderer.send_signal(signal.SIGCONT)
    scratch = house.out / ".imagemill" / "scratch"
    eventually_blocking(lambda: any(scratch.iterdir()))

    # when all are killed and the list is finished by another run
    running.send_group(signal.SIGKILL)
    assert running.ended(5.0).code == -signal.SIGKILL
    assert any(scratch.iterdir())
    ended = house.run()

    # expect nothing of it to stay
    assert ended.code == 0, ended.said
    assert house.leftovers() == []
