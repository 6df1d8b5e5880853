"""The fold: events of workers, in groups, onto the rows and the counters.

A group is reduced to one event an item and written in one transaction. Counters change by (old state, new state)
of the rows that moved, so an event seen twice moves nothing and counts nothing.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.items import Facts, Head, ItemEvent, State, advance, facts_after, is_sign_of_life, reduce_events
from imagemill.ports.records import Move, Records, Twin, Unit
from imagemill.runtime import traces
from storage_svc.measuring import count_moves, trace_moves

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Leavings:
    """What a group of events leaves behind in the blob store."""

    keys: list[str] = field(default_factory=list)
    """Originals that nobody needs any more."""
    batch_ended: bool = False
    """Whether a batch has ended, or something was written for one that had."""


async def fold(records: Records, events: Iterable[ItemEvent], now: float, leavings: Leavings | None = None) -> set[str]:
    """Write a group of events; returns the ids of the batches that changed. Raises `RecordsUnavailable`.

    `leavings` counts once this has returned.
    """
    leavings = leavings or Leavings()
    by_batch: dict[str, list[ItemEvent]] = defaultdict(list)
    for event in reduce_events(events).values():
        by_batch[event.batch_id].append(event)
    moved: list[Move] = []
    async with records.write() as unit:
        batches = await unit.batches(by_batch)
        for batch_id in sorted(batches):
            moved += await _fold_batch(unit, batches[batch_id], by_batch[batch_id], now, leavings)
    count_moves(moved)
    trace_moves("fold", batches, moved, now)
    return {move.batch_id for move in moved}


async def _fold_batch(
    unit: Unit, batch: Batch, events: Collection[ItemEvent], now: float, leavings: Leavings
) -> list[Move]:
    """Write a batch's events; returns how rows moved."""
    if batch.state.is_final:
        await _note_late(unit, batch, events, leavings)
    # A late result of a batch that was given up is refused: its rows are about to be, or are, cancelled.
    if batch.state in (BatchState.CANCELLING, BatchState.CANCELLED):
        return []
    heads = await unit.heads(batch.id, [event.index for event in events])
    known = [event for event in events if event.index in heads]
    if alive := [event.index for event in known if is_sign_of_life(heads[event.index], event)]:
        await unit.hear(batch.id, alive, now)
    moves = [
        _move(batch, heads[event.index], head, event, now)
        for event in sorted(events, key=lambda event: event.index)
        if event.index in heads and (head := advance(heads[event.index], event))
    ]
    if not moves:
        return []
    await unit.move_items(moves)
    await _point_to_twins(unit, batch, moves)
    batch.touch(now)
    batch.settle(now)
    await unit.save_batch(batch)
    leavings.batch_ended |= batch.state.is_final
    leavings.keys += await _originals_done_with(unit, batch, moves, events)
    return moves


async def _note_late(unit: Unit, batch: Batch, events: Iterable[ItemEvent], leavings: Leavings) -> None:
    """What a late event speaks of may lie in the blob store, and no row may ever speak of it."""
    if any(event.facts.original or event.facts.renders for event in events):
        leavings.batch_ended = True
        if batch.swept:
            batch.swept = False
            await unit.save_batch(batch)


async def _originals_done_with(
    unit: Unit, batch: Batch, moves: Iterable[Move], events: Iterable[ItemEvent]
) -> list[str]:
    """Keys of transient originals of which the last item that was known by them has become final."""
    if batch.keep_originals:
        return []
    final = {move.index for move in moves if move.head.state.is_final}
    stored = (event.facts.original for event in events if event.index in final)
    keys = {original.sha256: original.key for original in stored if original is not None and original.key}
    if not keys:
        return []
    needed = await unit.digests_in_flight(batch.id, keys)
    return [key for digest, key in keys.items() if digest not in needed]


def _move(batch: Batch, old: Head, new: Head, event: ItemEvent, now: float) -> Move:
    """Count one row's move, and say how it is written."""
    batch.counts.move(old.state, new.state)
    batch.revision += 1
    facts = facts_after(new, event)
    if new.state.is_final and facts.original is not None and facts.original.key and not batch.keep_originals:
        # It served between download and rendering, and is about to be deleted.
        facts = replace(facts, original=replace(facts.original, key=""))
    if new.state.is_final:
        if facts.original is not None:
            batch.downloaded_bytes += facts.original.size_bytes
        _log_outcome(batch, event, new, facts)
    return Move(
        batch_id=batch.id,
        index=event.index,
        # An event proves that the item was taken up, also when its claim was handed back before the event was folded.
        head=replace(new, claims=max(new.claims, 1)) if new.state is not State.PENDING else new,
        revision=batch.revision,
        due_at=now + event.delay_s if new.state is State.PENDING else 0.0,
        heard_at=now,
        finished_at=now if new.state.is_final else None,
        # An original that is gone takes what was known of it along.
        facts=None if facts == _NOTHING and not event.outside_budget else facts,
    )


_NOTHING = Facts()


async def _point_to_twins(unit: Unit, batch: Batch, moves: Collection[Move]) -> None:
    """Make every succeeded item with the bytes of another one point to the lowest index that has them."""
    succeeded = {
        move.index: move.facts.original.sha256
        for move in moves
        if move.head.state is State.SUCCEEDED and move.facts is not None and move.facts.original is not None
    }
    if not succeeded:
        return
    first = await unit.first_twins(batch.id, set(succeeded.values()))
    wrong = [Twin(index, digest, None) for index, digest in succeeded.items() if first[digest] not in succeeded]
    # Only a new lowest index makes others point elsewhere. Reading all twins of a digest each time would make a list
    # in which one placeholder stands a million times quadratic.
    wrong += await unit.twins(batch.id, {digest for index, digest in succeeded.items() if first[digest] == index})
    changes: list[tuple[int, int | None, int]] = []
    for twin in sorted(wrong, key=lambda twin: twin.index):
        lowest = first[twin.sha256]
        points_to = lowest if lowest != twin.index else None
        if points_to != twin.duplicate_of:
            batch.duplicates += (points_to is not None) - (twin.duplicate_of is not None)
            batch.revision += 1
            changes.append((twin.index, points_to, batch.revision))
    await unit.point_duplicates(batch.id, changes)


def _log_outcome(batch: Batch, event: ItemEvent, head: Head, facts: Facts) -> None:
    """One line for each item that is done with: attempts, times, bytes, outcome."""
    level = logging.DEBUG if head.state is State.SUCCEEDED else logging.INFO
    if not log.isEnabledFor(level):
        return
    timings, original = facts.timings, facts.original
    log.log(
        level,
        "Item %s/%d %s: %d attempts, download %.0f ms, %d bytes, processing %.0f ms%s",
        event.batch_id,
        event.index,
        head.state.name,
        head.attempt + 1,
        timings.download_ms if timings else 0,
        original.size_bytes if original else 0,
        timings.decode_ms + timings.resize_ms + timings.encode_ms if timings else 0,
        f", {facts.failure.code}: {facts.failure.message}" if facts.failure else "",
        extra={
            "action": "item_final",
            "batch": batch.id,
            "item": event.index,
            "trace_id": traces.id_of(batch.trace, batch.id, event.index),
        },
    )
