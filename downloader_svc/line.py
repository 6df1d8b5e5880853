"""The line in which downloads wait for their turn: a slow host, and a long list, keep nobody else waiting."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_Waiting = asyncio.Future[None]


class Line:
    """Lets so many download at once in all, and so many from one host; batches take turns by their priority."""

    def __init__(self, total: int, per_host: int) -> None:
        self._total = total
        self._per_host = per_host
        self._taken = 0
        self._of_host: Counter[str] = Counter()
        self._waiting: dict[str, dict[str, deque[_Waiting]]] = {}
        """Who waits, by host and then by batch."""
        self._batches: dict[str, _Batch] = {}

    def resize(self, total: int, per_host: int) -> None:
        """Change both numbers; whoever downloads goes on."""
        self._total, self._per_host = total, per_host
        for host in self._waiting:
            self._open_or_close(host)
        self._admit()

    @asynccontextmanager
    async def turn(self, batch_id: str, priority: int, host: str) -> AsyncIterator[None]:
        """Hold a turn for the length of the block; the next of a host that has none free waits in no one's way."""
        waiting = self._enter(batch_id, priority, host)
        self._admit()
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.cancelled():
                self._forget(batch_id, host, waiting)
            else:
                self._end(host)  # the turn came at the same moment
            raise
        try:
            yield
        finally:
            self._end(host)

    def _enter(self, batch_id: str, priority: int, host: str) -> _Waiting:
        batch = self._batches.get(batch_id)
        if batch is None:
            # Whoever comes late has missed nothing that would be made up for.
            batch = self._batches[batch_id] = _Batch(min((each.served for each in self._batches.values()), default=0.0))
        batch.priority = priority
        batch.waiting += 1
        waiting: _Waiting = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(host, {}).setdefault(batch_id, deque()).append(waiting)
        if self._of_host[host] < self._per_host:
            batch.open_hosts[host] = None
        return waiting

    def _end(self, host: str) -> None:
        self._taken -= 1
        self._of_host[host] -= 1
        self._open_or_close(host)
        if not self._of_host[host]:
            del self._of_host[host]
        self._admit()

    def _admit(self) -> None:
        while self._taken < self._total and (following := self._following()) is not None:
            batch_id, host = following
            batch = self._batches[batch_id]
            waiting = self._waiting[host][batch_id][0]
            self._forget(batch_id, host, waiting)
            if not waiting.done():
                waiting.set_result(None)
                batch.served += 1 / batch.priority
                self._taken += 1
                self._of_host[host] += 1
                self._open_or_close(host)

    def _following(self) -> tuple[str, str] | None:
        """The batch and the host whose turn it is."""
        able = (entry for entry in self._batches.items() if entry[1].open_hosts)
        batch_id, batch = min(able, key=lambda entry: entry[1].served, default=("", None))
        return (batch_id, next(iter(batch.open_hosts))) if batch else None

    def _open_or_close(self, host: str) -> None:
        """Tell the batches that wait for a host whether it has a turn free: among thousands none is searched then."""
        is_open = self._of_host[host] < self._per_host
        for batch_id in self._waiting.get(host, ()):
            hosts = self._batches[batch_id].open_hosts
            if is_open:
                hosts[host] = None
            else:
                hosts.pop(host, None)

    def _forget(self, batch_id: str, host: str, waiting: _Waiting) -> None:
        of_host = self._waiting.get(host, {})
        if waiting not in of_host.get(batch_id, ()):
            return
        batch = self._batches[batch_id]
        of_host[batch_id].remove(waiting)
        if not of_host[batch_id]:
            del of_host[batch_id]
            batch.open_hosts.pop(host, None)
        if not of_host:
            del self._waiting[host]
        batch.waiting -= 1
        if not batch.waiting:
            del self._batches[batch_id]


@dataclass(slots=True)
class _Batch:
    """A batch of which downloads wait."""

    served: float
    """Turns it has had, each the smaller the higher its priority is: the batch with the least is the next."""
    priority: int = 1
    waiting: int = 0
    open_hosts: dict[str, None] = field(default_factory=dict)
    """Those that it waits for and that have a turn free, in the order in which they came."""
