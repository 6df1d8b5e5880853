"""Hints of changes inside one process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class _Subscription:
    def __init__(self) -> None:
        self._announced: set[str] = set()
        self._woken = asyncio.Event()

    def tell(self, batch_ids: Iterable[str]) -> None:
        self._announced.update(batch_ids)
        self._woken.set()

    async def wait(self, timeout_s: float) -> set[str]:
        """The ids announced since the last call; empty when none was in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return set()
        self._woken.clear()
        announced, self._announced = self._announced, set()
        return announced


class LocalChanges:
    """See `ports.changes.Changes`."""

    def __init__(self) -> None:
        self._subscriptions: set[_Subscription] = set()

    def announce(self, batch_ids: Iterable[str]) -> None:
        """Say that batches changed."""
        ids = set(batch_ids)
        for subscription in self._subscriptions:
            subscription.tell(ids)

    @contextmanager
    def subscribe(self) -> Iterator[_Subscription]:
        """Begin to listen."""
        subscription = _Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
