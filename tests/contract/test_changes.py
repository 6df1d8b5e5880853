"""The promises of `imagemill.ports.changes`, by their numbers."""

from __future__ import annotations

import asyncio

from imagemill.ports.changes import Changes

PATIENCE_S = 5.0


async def test_h1_a_hint_wakes_a_subscription_that_waits(changes: Changes) -> None:
    with changes.subscribe() as subscription:
        waiting = asyncio.create_task(subscription.wait(PATIENCE_S))
        await asyncio.sleep(0)
        changes.announce(["a"])

        assert await waiting == {"a"}


async def test_h1_a_hint_between_two_waits_is_not_missed(changes: Changes) -> None:
    with changes.subscribe() as subscription:
        changes.announce(["a"])

        assert await subscription.wait(PATIENCE_S) == {"a"}


async def test_h1_every_subscription_hears_of_it(changes: Changes) -> None:
    with changes.subscribe() as first, changes.subscribe() as second:
        changes.announce(["a"])

        assert await first.wait(PATIENCE_S) == {"a"}
        assert await second.wait(PATIENCE_S) == {"a"}


async def test_h1_what_came_before_the_subscription_is_not_told(changes: Changes) -> None:
    changes.announce(["early"])
    with changes.subscribe() as subscription:
        changes.announce(["late"])

        assert await subscription.wait(PATIENCE_S) == {"late"}


async def test_h2_hints_coalesce_while_nobody_waits(changes: Changes) -> None:
    with changes.subscribe() as subscription:
        changes.announce(["a", "b"])
        changes.announce(iter(["b", "c"]))
        changes.announce(["a"])

        assert await subscription.wait(PATIENCE_S) == {"a", "b", "c"}
        assert await subscription.wait(0.0) == set()


async def test_h3_a_wait_without_a_hint_ends_with_its_time(changes: Changes) -> None:
    with changes.subscribe() as subscription:
        assert await subscription.wait(0.001) == set()


async def test_h3_a_subscription_works_on_after_a_wait_that_ended_or_was_cancelled(changes: Changes) -> None:
    with changes.subscribe() as subscription:
        await subscription.wait(0.0)
        waiting = asyncio.create_task(subscription.wait(PATIENCE_S))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        changes.announce(["a"])

        assert await subscription.wait(PATIENCE_S) == {"a"}
