"""Whose turn it is to use a connection, and how long a download may take once it is its turn."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType

from imagemill.places import Places


class Deadline:
    """The latest end of one download, whose clock stands still while the download waits for its turn.

    Used as an asynchronous context manager around the whole download, and raises `TimeoutError` like
    `asyncio.timeout`; `expired` tells this timeout from others.
    """

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(seconds)
        self.waited_s = 0.0
        """How long the clock has stood still."""

    async def __aenter__(self) -> Deadline:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._timeout.__aexit__(kind, error, trace)

    @property
    def expired(self) -> bool:
        """Whether the time has run out."""
        return self._timeout.expired()

    @property
    def left_s(self) -> float:
        """Seconds until the end, less than zero after it."""
        end = self._timeout.when()
        return math.inf if end is None else end - asyncio.get_running_loop().time()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock for the length of the block."""
        if self._timeout.expired():
            yield
            return
        clock = asyncio.get_running_loop().time
        stopped, left = clock(), self.left_s
        self._timeout.reschedule(None)
        try:
            yield
        finally:
            self.waited_s += clock() - stopped
            self._timeout.reschedule(clock() + left)


class Turns:
    """Lets so many use a connection at once in all, and so many per host; the others wait in order.

    aiohttp could count connections too, but its waiting would end in the same timeout as connecting.
    """

    def __init__(self, total: int, per_host: int) -> None:
        self._total = Places(total)
        self._per_host = per_host
        self._hosts: dict[str, _Host] = {}

    def resize(self, total: int, per_host: int) -> None:
        """Change both numbers; who uses a connection goes on using it."""
        self._total.resize(total)
        self._per_host = per_host
        for host in self._hosts.values():
            host.turns.resize(per_host)

    @asynccontextmanager
    async def of(self, host: str, deadline: Deadline) -> AsyncIterator[None]:
        """Hold a turn at `host` for the length of the block; the wait for it isn't counted by `deadline`."""
        entry = self._hosts.get(host)
        if entry is None:
            entry = self._hosts[host] = _Host(self._per_host)
        entry.users += 1
        try:
            # The host's turn first: whoever waits for a slow host must not hold one of the total.
            await _acquire(entry.turns, deadline)
            try:
                await _acquire(self._total, deadline)
                try:
                    yield
                finally:
                    self._total.release()
            finally:
                entry.turns.release()
        finally:
            entry.users -= 1
            if not entry.users:
                del self._hosts[host]


class _Host:
    __slots__ = ("turns", "users")

    def __init__(self, turns: int) -> None:
        self.turns = Places(turns)
        self.users = 0


async def _acquire(turns: Places, deadline: Deadline) -> None:
    if not turns.full:
        await turns.acquire()
        return
    with deadline.paused():
        await turns.acquire()


class IdleHosts:
    """Decides to which hosts an idle connection is kept, so that a list of a million hosts keeps few files open.

    aiohttp bounds the connections in use, not the idle ones.
    """

    def __init__(self, hosts: int, keepalive_s: float) -> None:
        self.limit = hosts
        self._keepalive_s = keepalive_s
        self._last_use: OrderedDict[str, float] = OrderedDict()

    def keep(self, host: str, now: float) -> bool:
        """Note that `host` is used at `now`, a monotonic time in seconds; return whether to keep its connection."""
        while self._last_use and now - next(iter(self._last_use.values())) > self._keepalive_s:
            self._last_use.popitem(last=False)
        if host not in self._last_use and len(self._last_use) >= self.limit:
            return False
        self._last_use[host] = now
        self._last_use.move_to_end(host)
        return True
