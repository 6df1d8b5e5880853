"""Loops beside a service's main one."""

from __future__ import annotations

import asyncio

import pytest

from imagemill.ports.records import RecordsUnavailable
from imagemill.runtime.lifecycle import every
from tests.support.eventually import eventually


async def test_an_action_is_done_whenever_it_is_due_however_long_its_period() -> None:
    due, done = asyncio.Event(), list[int]()

    async def action() -> None:
        done.append(1)

    looping = asyncio.create_task(every(1000.0, action, due))
    for times in (1, 2):
        due.set()
        await eventually(lambda times=times: len(done) == times)  # type: ignore[misc]  # mypy can't infer such a lambda
    looping.cancel()


async def test_an_action_is_done_every_period_though_a_part_was_away() -> None:
    done = list[int]()

    async def action() -> None:
        done.append(1)
        raise RecordsUnavailable("the database is away")

    looping = asyncio.create_task(every(0.001, action))
    await eventually(lambda: len(done) > 2)
    looping.cancel()


async def test_an_error_that_nobody_foresaw_ends_the_loop() -> None:
    async def action() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await every(0.0, action)
