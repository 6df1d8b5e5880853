"""How long a claim and a fold take on a store that holds so many items, half of them done."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagemill.domain.items import ItemEvent, State
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


async def row_times(count: int, batches: int, path: Path) -> RowTimes:
    """Fill a new store at `path` with `count` items in so many batches, the first half of each done; then claim and
    fold what follows, by turns.

    Batches too small for all repeats are claimed and folded to their end.
    """
    records = await open_records(f"sqlite:///{path}")
    try:
        for number in range(batches):
            await _fill(records, f"b{number}", count // batches)
        claims, folds = [], []
        for number in range(min(_REPEATS, max(1, count // 2 // _GROUP))):
            started = time.perf_counter()
            events = await _claimed(records, number)
            claimed = time.perf_counter()
            touched = await fold(records, events, time.time())
            folds.append(1000 * (time.perf_counter() - claimed))
            claims.append(1000 * (claimed - started))
            assert touched == {each.batch_id for each in events}
        return RowTimes(statistics.median(claims), statistics.median(folds))
    finally:
        await records.close()


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


async def _claimed(records: Records, number: int) -> Sequence[ItemEvent]:
    """Claim a group; return the events that end it."""
    now = time.time()
    limits = ClaimLimits(max_items=_GROUP, window=_GROUP, least=1)
    claimed = await claim_items(records, Claim(f"t{number}", "e", now + _LEASE_S), limits, now, lease_s=_LEASE_S)
    events = [event(item.index, State.SUCCEEDED, batch_id=part.batch.id) for part in claimed for item in part.items]
    assert events
    return events
