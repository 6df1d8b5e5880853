"""Hints among processes: what `test_changes.py` can't ask of an adapter that stays inside one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import asyncpg
import pytest

from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.postgres_changes import CHANNEL, open_postgres_changes
from imagemill.ports.changes import Changes, Subscription
from tests.support.eventually import eventually
from tests.support.postgres_node import PASSWORD, PostgresNode

PATIENCE_S = 10.0


@pytest.fixture
async def other(postgres_schema: str) -> AsyncIterator[Changes]:
    """What another process on the same database announces with."""
    async with open_postgres_changes(postgres_schema, LocalChanges()) as changes:
        yield changes


async def heard(subscription: Subscription, announcing: Changes, *batch_ids: str) -> set[str]:
    """What a subscription hears of hints that are announced until they arrive: one that is lost is no failure."""
    told: set[str] = set()

    async def told_enough() -> bool:
        announcing.announce(batch_ids)
        told.update(await subscription.wait(0.05))
        return told >= set(batch_ids)

    await eventually(told_enough, timeout_s=PATIENCE_S)
    return told


@pytest.fixture
async def listening(postgres_schema: str, other: Changes) -> AsyncIterator[Changes]:
    """Changes that are known to hear what the other process announces."""
    async with open_postgres_changes(postgres_schema, LocalChanges()) as changes:
        with changes.subscribe() as subscription:
            await heard(subscription, other, "connected")
        yield changes


async def test_h1_a_hint_wakes_a_subscription_in_another_process(listening: Changes, other: Changes) -> None:
    with listening.subscribe() as subscription:
        other.announce(["b1", "b2"])

        told = await subscription.wait(PATIENCE_S)
        while told - {"connected"} < {"b1", "b2"}:
            told |= await subscription.wait(PATIENCE_S)
        assert told - {"connected"} == {"b1", "b2"}


async def test_h2_many_hints_travel_as_one_notification(
    listening: Changes, other: Changes, postgres_schema: str
) -> None:
    connection = await asyncpg.connect(postgres_schema)
    notified: list[str] = []
    try:
        await connection.add_listener(CHANNEL, lambda *hint: notified.append(str(hint[3])))
        for _ in range(200):
            other.announce(["busy"])
        other.announce(["last"])
        await eventually(lambda: {"busy", "last"} <= set(notified), timeout_s=PATIENCE_S)
    finally:
        await connection.close()

    assert notified.count("busy") == 1


async def test_h3_a_server_that_is_away_at_first_or_dies_is_awaited(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "imagemill.adapters.postgres_changes")
    node = PostgresNode()
    try:
        node.kill()
        async with (
            open_postgres_changes(node.url(), LocalChanges()) as early,
            open_postgres_changes(node.url(), LocalChanges()) as another,
        ):
            early.announce(["nobody hears"])
            await eventually(lambda: len(caplog.records) == 2, timeout_s=PATIENCE_S)
            for _ in range(2):
                await asyncio.to_thread(node.start)
                with early.subscribe() as subscription:
                    assert await heard(subscription, another, "b") == {"b"}
                await asyncio.to_thread(node.kill)
    finally:
        node.destroy()

    assert [record.__dict__["action"] for record in caplog.records[:4]] == ["hints_away"] * 2 + ["hints_back"] * 2
    assert PASSWORD not in caplog.text


async def test_h3_whatever_the_driver_says_of_a_lost_connection_another_one_is_made(
    listening: Changes, other: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server that dies in the middle of an answer makes the driver say this: too short a moment to hit on purpose.
    confused = [asyncpg.InternalClientError("cannot switch to state 12; another operation is in progress")]
    execute = asyncpg.Connection.execute

    async def lost_once(self: asyncpg.Connection[asyncpg.Record], *arguments: object, **rest: float) -> str:
        if confused:
            raise confused.pop()
        return await execute(self, *arguments, **rest)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(asyncpg.Connection, "execute", lost_once)
    other.announce(["lost"])
    await eventually(lambda: not confused, timeout_s=PATIENCE_S)

    with listening.subscribe() as subscription:
        assert await heard(subscription, other, "b") == {"b"}


async def test_h3_hints_inside_the_process_need_no_server() -> None:
    async with open_postgres_changes("postgresql://nobody@127.0.0.1:1/none", LocalChanges()) as changes:
        with changes.subscribe() as subscription:
            changes.announce(["b"])
            assert await subscription.wait(PATIENCE_S) == {"b"}
