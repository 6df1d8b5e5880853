"""Hints that a batch has changed, so that whoever waits need not ask all the time.

Promises, which `tests/contract/test_changes.py` proves on every adapter:

H1  A hint that is announced after a subscription began wakes that subscription, unless it is lost.
H2  Hints coalesce: however many come while nobody waits, one wake-up tells of all the batches.
H3  A lost hint costs its reader a poll interval, never an update: readers also look by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol


class Subscription(Protocol):
    """One reader's ear."""

    async def wait(self, timeout_s: float) -> set[str]:
        """The ids of batches announced since the last call; empty when none was within `timeout_s`."""


class Changes(Protocol):
    """The hints; see the module for their promises."""

    def announce(self, batch_ids: Iterable[str]) -> None:
        """Say that batches changed; after the commit, never inside it."""

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """Begin to listen."""
