"""A bounded number of places that may be changed."""

from __future__ import annotations

import asyncio

import pytest

from imagemill.places import Places


async def queued(places: Places, number: int) -> list[asyncio.Task[None]]:
    """Let so many ask for a place, one after the other."""
    tasks = [asyncio.create_task(places.acquire()) for _ in range(number)]
    await asyncio.sleep(0)
    return tasks


def holding(tasks: list[asyncio.Task[None]]) -> list[bool]:
    return [task.done() for task in tasks]


async def test_places_are_given_in_order_and_no_more_than_there_are() -> None:
    places = Places(2)
    tasks = await queued(places, 4)
    assert holding(tasks) == [True, True, False, False]

    places.release()
    await asyncio.sleep(0)

    assert holding(tasks) == [True, True, True, False]
    places.release()
    await asyncio.gather(*tasks)


async def test_more_places_let_those_in_who_wait() -> None:
    places = Places(1)
    tasks = await queued(places, 3)

    places.resize(3)
    await asyncio.gather(*tasks)

    assert places.full


async def test_fewer_places_take_nobodys_place_but_let_nobody_in_until_so_few_are_taken() -> None:
    places = Places(3)
    tasks = await queued(places, 5)

    places.resize(1)
    for _ in range(2):
        places.release()
        await asyncio.sleep(0)
        assert holding(tasks) == [True, True, True, False, False]
    places.release()
    await asyncio.sleep(0)
    assert holding(tasks) == [True, True, True, True, False]

    places.release()
    await asyncio.gather(*tasks)


async def test_whoever_gives_up_waiting_takes_no_place() -> None:
    places = Places(1)
    tasks = await queued(places, 3)

    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    places.release()
    await asyncio.gather(tasks[0], tasks[2])

    assert places.full
    places.release()
    assert not places.full


@pytest.mark.parametrize("first", ["place", "cancel"])
async def test_a_place_that_comes_with_the_cancellation_is_given_on(first: str) -> None:
    places = Places(1)
    tasks = await queued(places, 3)

    if first == "cancel":
        tasks[1].cancel()
    places.release()
    if first == "place":
        tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    await tasks[2]

    assert tasks[1].cancelled()
    places.release()
    assert not places.full


async def test_a_block_holds_a_place() -> None:
    places = Places(1)

    async with places:
        assert places.full

    assert not places.full
