"""How long a claim and a fold take on a store that holds a batch of a certain size."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

from imagemill.domain.items import State
from imagemill.ports.records import Claim, Records
from imagemill.wiring.records import open_records
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


async def row_times(count: int, path: Path) -> RowTimes:
    """Fill a new store at `path` with a batch of `count` items, then claim and fold in the middle of it.

    A batch too small for all repeats is claimed and folded to its end.
    """
    records = await open_records(f"sqlite:///{path}")
    try:
        await _fill(records, count)
        groups = min(_REPEATS, count // _GROUP)
        claims = [await _timed(_claim(records, number)) for number in range(groups)]
        folds = [await _timed(_fold(records, number)) for number in range(groups)]
        return RowTimes(statistics.median(claims), statistics.median(folds))
    finally:
        await records.close()


async def _fill(records: Records, count: int) -> None:
    await put_batch(records, new_batch(), new_items(range(min(_CHUNK, count))))
    for start in range(_CHUNK, count, _CHUNK):
        items = new_items(range(start, min(start + _CHUNK, count)))
        async with records.write() as unit:
            batch = (await unit.batches(["b"]))["b"]
            await unit.insert_items("b", items, batch.revision, 0.0)
            for item in items:
                batch.counts.add(item.state)
            batch.revision += len(items)
            await unit.save_batch(batch)


async def _claim(records: Records, number: int) -> None:
    now = time.time()
    limits = ClaimLimits(max_items=_GROUP, window=1 << 30, least=1)
    claimed = await claim_items(records, Claim(f"t{number}", "e", now + _LEASE_S), limits, now, lease_s=_LEASE_S)
    assert sum(len(part.items) for part in claimed) == _GROUP


async def _fold(records: Records, number: int) -> None:
    events = [event(index, State.SUCCEEDED) for index in range(number * _GROUP, (number + 1) * _GROUP)]
    assert await fold(records, events, time.time()) == {"b"}


async def _timed(work: Awaitable[None]) -> float:
    started = time.perf_counter()
    await work
    return 1000 * (time.perf_counter() - started)
