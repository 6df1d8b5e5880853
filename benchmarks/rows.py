"""How long a claim and a fold take on a store that holds so many items, half of them done."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from imagemill.domain.items import State
from imagemill.ports.records import Claim, Records
from imagemill.wiring.records import open_records
from storage_svc.choosing import Chooser
from storage_svc.claims import ClaimLimits, claim_items
from storage_svc.fold import fold
from tests.support.builders import event, new_batch, new_items, put_batch

_GROUP = 256
"""Items of a claim, events of a fold: as many as the services handle at once."""
_REPEATS = 30
_CHUNK = 10_000
_LEASE_S = 3600.0


@dataclass(frozen=True, slots=True)
class RowTimes:
    """Medians in milliseconds, of 256 items each."""

    claim_ms: float
    fold_ms: float


async def row_times(sizes: Sequence[tuple[int, int]], folder: Path) -> list[RowTimes]:
    """Fill a new store in `folder` for each size, items and batches, the first half of each batch done; then claim and
    fold what follows in all of them by turns, since the machine changes its speed within minutes.

    Batches too small for all repeats are claimed and folded to their end.
    """
    async with AsyncExitStack() as stack:
        stores = [await _opened(stack, items, batches, folder) for items, batches in sizes]
        for number in range(_REPEATS):
            for store in stores:
                if number < store.repeats:
                    await store.take_and_fold(number)
    return [RowTimes(statistics.median(store.claims), statistics.median(store.folds)) for store in stores]


class _Store:
    def __init__(self, records: Records, items: int) -> None:
        self.repeats = max(1, items // 2 // _GROUP)
        self.claims: list[float] = []
        self.folds: list[float] = []
        self._records = records
        self._chooser = Chooser()

    async def take_and_fold(self, number: int) -> None:
        """Claim a group, and fold the events that end it."""
        started = time.perf_counter()
        limits = ClaimLimits(max_items=_GROUP, window=2 * _GROUP, least=1)
        claim = Claim(f"t{number}", "e", time.time() + _LEASE_S)
        claimed = await claim_items(self._records, self._chooser, claim, limits, time.time(), lease_s=_LEASE_S)
        self.claims.append(1000 * (time.perf_counter() - started))
        events = [event(item.index, State.SUCCEEDED, batch_id=part.batch.id) for part in claimed for item in part.items]
        assert events
        started = time.perf_counter()
        touched = await fold(self._records, events, time.time())
        self.folds.append(1000 * (time.perf_counter() - started))
        assert touched == {each.batch_id for each in events}


async def _opened(stack: AsyncExitStack, items: int, batches: int, folder: Path) -> _Store:
    records = await open_records(f"sqlite:///{folder / f'rows-{items}-in-{batches}.db'}")
    stack.push_async_callback(records.close)
    for number in range(batches):
        await _fill(records, f"b{number}", items // batches)
    return _Store(records, items)


async def _fill(records: Records, batch_id: str, count: int) -> None:
    await put_batch(records, new_batch(batch_id), [])
    for state, start, end in ((State.SUCCEEDED, 0, count // 2), (State.PENDING, count // 2, count)):
        for at in range(start, end, _CHUNK):
            items = new_items(range(at, min(at + _CHUNK, end)), state)
            async with records.write() as unit:
                batch = (await unit.batches([batch_id]))[batch_id]
                await unit.insert_items(batch_id, items, batch.revision, 0.0)
                batch.counts.add(state, len(items))
                batch.revision += len(items)
                await unit.save_batch(batch)
