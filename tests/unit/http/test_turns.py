from __future__ import annotations

import asyncio

import pytest

from imagemill.http.turns import Deadline, IdleHosts, Turns


async def test_turns_are_counted_per_host_and_in_all() -> None:
    turns = Turns(total=3, per_host=2)
    inside: list[str] = []
    leave = asyncio.Event()

    async def visit(host: str) -> None:
        async with Deadline(10.0) as deadline, turns.of(host, deadline):
            inside.append(host)
            await leave.wait()

    visits = [asyncio.create_task(visit(host)) for host in ("a", "a", "a", "b", "b", "c")]
    for _ in range(10):
        await asyncio.sleep(0)

    assert sorted(inside) == ["a", "a", "b"]
    leave.set()
    await asyncio.gather(*visits)
    assert sorted(inside) == ["a", "a", "a", "b", "b", "c"]


async def test_a_turn_that_is_given_up_is_free_for_the_next() -> None:
    turns = Turns(total=1, per_host=1)
    async with Deadline(10.0) as deadline:
        async with turns.of("a", deadline):
            waiting = asyncio.create_task(_take(turns, "a"))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert await _take(turns, "a")


async def test_a_deadline_ends_what_takes_too_long() -> None:
    deadline = Deadline(0.01)
    with pytest.raises(TimeoutError):
        async with deadline:
            await asyncio.Event().wait()

    assert deadline.expired


async def test_a_paused_deadline_goes_on_with_what_was_left() -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def pause_and_go_on() -> None:
        async with Deadline(0.1) as deadline:
            with deadline.paused():
                await asyncio.wait_for(_after(loop, 0.2), 5.0)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await pause_and_go_on()

    assert loop.time() - started >= 0.29


async def test_a_deadline_tells_how_long_it_was_paused() -> None:
    loop = asyncio.get_running_loop()
    async with Deadline(10.0) as deadline:
        for _ in range(2):
            with deadline.paused():
                await asyncio.wait_for(_after(loop, 0.05), 5.0)

    assert deadline.waited_s >= 0.1


def test_idle_connections_are_kept_to_the_hosts_that_came_first_until_they_are_forgotten() -> None:
    idle = IdleHosts(hosts=2, keepalive_s=15.0)

    assert [idle.keep(host, 0.0) for host in ("a", "b", "c", "a")] == [True, True, False, True]
    assert idle.keep("a", 14.0)
    assert idle.keep("c", 15.1)
    assert not idle.keep("b", 15.2)


async def _take(turns: Turns, host: str) -> bool:
    async with Deadline(1.0) as deadline, turns.of(host, deadline):
        return True


async def _after(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    ring: asyncio.Future[None] = loop.create_future()
    loop.call_later(seconds, ring.set_result, None)
    await ring
