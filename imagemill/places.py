"""A number of places that is bounded and may be changed: what `asyncio.Semaphore` is, but for the change."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Self


class Places:
    """So many hold a place at once; the others wait in the order in which they came."""

    __slots__ = ("_number", "_taken", "_waiting")

    def __init__(self, number: int) -> None:
        self._number = number
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def full(self) -> bool:
        """Whether whoever comes now has to wait."""
        return self._taken >= self._number or bool(self._waiting)

    async def acquire(self) -> None:
        """Take a place as soon as there is one."""
        if not self.full:
            self._taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with contextlib.suppress(ValueError):  # passed over already
                    self._waiting.remove(turn)
            else:
                # The place came at the same moment.
                self.release()
            raise

    def release(self) -> None:
        """Give a place back."""
        self._taken -= 1
        self._admit()

    def resize(self, number: int) -> None:
        """Change the number. Fewer than are taken: those who hold one keep it, and nobody follows them at first."""
        self._number = number
        self._admit()

    def _admit(self) -> None:
        free = self._number - self._taken
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._taken += 1
                free -= 1

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *details: object) -> None:
        self.release()
