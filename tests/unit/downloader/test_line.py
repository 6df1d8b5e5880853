"""Whose download is the next."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from downloader_svc.line import Line
from tests.support.eventually import eventually


class Hall:
    """Downloads that begin when the line lets them, and end when they are told to."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.at_work: list[str] = []
        self.begun: Counter[str] = Counter()
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, host: str, *, batch: str = "", priority: int = 10) -> None:
        """Have a download come to the line; its batch is the first letter of its name."""
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._download(name, host, batch or name[0], priority))
        await asyncio.sleep(0)

    async def _download(self, name: str, host: str, batch: str, priority: int) -> None:
        async with self.line.turn(batch, priority, host):
            self.at_work.append(name)
            self.begun[batch] += 1
            await self._ends[name].wait()
            self.at_work.remove(name)

    async def end(self, name: str) -> None:
        """End a download that is at work."""
        self._ends[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)


async def test_no_more_download_at_once_than_there_are_turns_in_all_and_of_a_host() -> None:
    hall = Hall(Line(3, 2))
    for number in range(4):
        await hall.come(f"a{number}", "one")
        await hall.come(f"b{number}", "two")

    assert sorted(hall.at_work) == ["a0", "a1", "b0"]
    await hall.end("a0")
    assert sorted(hall.at_work) == ["a1", "b0", "b1"]


async def test_a_host_whose_turns_are_taken_keeps_nobody_else_waiting() -> None:
    hall = Hall(Line(10, 2))
    for number in range(50):
        await hall.come(f"a{number}", "slow")
    await hall.come("a50", "quick")
    await hall.come("b0", "quick")

    assert hall.at_work == ["a0", "a1", "a50", "b0"]


async def test_batches_take_turns_however_many_of_one_wait() -> None:
    hall = Hall(Line(1, 1))
    for number in range(20):
        await hall.come(f"a{number}", "host")
    for number in range(3):
        await hall.come(f"b{number}", "host")

    for _ in range(6):
        await hall.end(hall.at_work[0])

    assert hall.begun["b"] == 3


async def test_a_higher_priority_has_more_turns() -> None:
    hall = Hall(Line(1, 1))
    await hall.come("c0", "host")
    for number in range(60):
        await hall.come(f"a{number}", "host", priority=10)
        await hall.come(f"b{number}", "host", priority=30)

    for _ in range(40):
        await hall.end(hall.at_work[0])

    assert hall.begun["b"] == pytest.approx(30, abs=1)


async def test_who_leaves_the_line_or_is_cancelled_at_work_leaves_no_gap() -> None:
    hall = Hall(Line(1, 1))
    for name in ("a0", "a1", "a2"):
        await hall.come(name, "host")

    hall.tasks["a1"].cancel()
    await eventually(hall.tasks["a1"].done)
    hall.tasks["a0"].cancel()
    await eventually(lambda: hall.at_work == ["a0", "a2"])

    await hall.end("a2")
    await hall.come("b0", "host")
    assert hall.at_work == ["a0", "b0"]


async def test_a_turn_that_comes_in_the_moment_of_a_cancellation_goes_to_the_next() -> None:
    hall = Hall(Line(1, 1))
    for name in ("a0", "a1", "a2"):
        await hall.come(name, "host")

    hall.line.resize(2, 2)
    hall.tasks["a1"].cancel()
    await eventually(lambda: hall.at_work == ["a0", "a2"])

    assert hall.begun == {"a": 2}


async def test_more_turns_are_given_at_once() -> None:
    hall = Hall(Line(1, 1))
    for number in range(5):
        await hall.come(f"a{number}", "host")

    hall.line.resize(4, 3)
    await eventually(lambda: len(hall.at_work) == 3)


async def test_fewer_turns_of_a_host_close_it_until_enough_have_ended() -> None:
    hall = Hall(Line(10, 3))
    for number in range(6):
        await hall.come(f"a{number}", "host")

    hall.line.resize(10, 1)
    for name in ("a0", "a1"):
        await hall.end(name)
    assert hall.at_work == ["a2"]
    await hall.end("a2")
    assert hall.at_work == ["a3"]

    hall.line.resize(10, 2)
    await eventually(lambda: hall.at_work == ["a3", "a4"])
