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
        self._batches: dict[str, _Batch] = {}

    def resize(self, total: int, per_host: int) -> None:
        """Change both numbers; whoever downloads goes on."""
        self._total, self._per_host = total, per_host
        self._admit()

    @asynccontextmanager
    async def turn(self, batch_id: str, priority: int, host: str) -> AsyncIterator[None]:
        """Hold a turn for the length of the block; the next of a host that has none free waits in no one's way."""
        waiting: _Waiting = asyncio.get_running_loop().create_future()
        batch = self._batches.get(batch_id)
        if batch is None:
            # Whoever comes late has missed nothing that would be made up for.
            batch = self._batches[batch_id] = _Batch(min((each.served for each in self._batches.values()), default=0.0))
        batch.priority = priority
        batch.hosts.setdefault(host, deque()).append(waiting)
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

    def _end(self, host: str) -> None:
        self._taken -= 1
        self._of_host[host] -= 1
        if not self._of_host[host]:
            del self._of_host[host]
        self._admit()

    def _admit(self) -> None:
        while self._taken < self._total and (following := self._following()) is not None:
            batch_id, host = following
            batch = self._batches[batch_id]
            waiting = batch.hosts[host][0]
            self._forget(batch_id, host, waiting)
            if not waiting.done():
                waiting.set_result(None)
                batch.served += 1 / batch.priority
                self._taken += 1
                self._of_host[host] += 1

    def _following(self) -> tuple[str, str] | None:
        """The batch and the host whose turn it is."""
        for batch_id, batch in sorted(self._batches.items(), key=lambda entry: entry[1].served):
            for host in batch.hosts:
                if self._of_host[host] < self._per_host:
                    return batch_id, host
        return None

    def _forget(self, batch_id: str, host: str, waiting: _Waiting) -> None:
        batch = self._batches.get(batch_id)
        if batch is None or waiting not in batch.hosts.get(host, ()):
            return
        batch.hosts[host].remove(waiting)
        if not batch.hosts[host]:
            del batch.hosts[host]
        if not batch.hosts:
            del self._batches[batch_id]


@dataclass(slots=True)
class _Batch:
    """The downloads of a batch that wait, by host."""

    served: float
    """Turns it has had, each the smaller the higher its priority is: the batch with the least is the next."""
    priority: int = 1
    hosts: dict[str, deque[_Waiting]] = field(default_factory=dict)
