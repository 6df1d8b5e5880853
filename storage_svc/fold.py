"""The fold: events of workers, in groups, onto the rows and the counters.

A group is reduced to one event an item and written in one transaction. Counters change by (old state, new state)
of the rows that moved, so an event seen twice counts no outcome twice.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.items import Facts, Head, ItemEvent, State, advance, facts_after, is_sign_of_life, reduce_events
from imagemill.ports.records import Move, Records, Twin, Unit
from imagemill.runtime import traces
from storage_svc.measuring import count_moves, trace_moves

log = logging.getLogger(__name__)

POINTED_AT_ONCE = 5_000
"""Twins that one statement makes point elsewhere."""


@dataclass(slots=True)
class Leavings:
    """What a group of events leaves behind, in the blob store and still to be done."""

    keys: list[str] = field(default_factory=list)
    """Originals that nobody needs any more."""
    batch_ended: bool = False
    """Whether a batch has ended, or something was written for one that had."""
    unfinished: dict[str, int] = field(default_factory=dict)
    """Of each batch that changed, the number of items without an outcome."""


async def fold(records: Records, events: Iterable[ItemEvent], now: float, leavings: Leavings | None = None) -> set[str]:
    """Write a group of events; returns the ids of the batches that changed. Raises `RecordsUnavailable`.

    `leavings` counts once this has returned.
    """
    leavings = leavings or Leavings()
    by_batch: dict[str, list[ItemEvent]] = defaultdict(list)
    for event in reduce_events(events).values():
        by_batch[event.batch_id].append(event)
    async with records.write() as unit:
        batches = await unit.batches(by_batch)
        # However many batches there are, each kind of statement is made once.
        wanted = await _wanted(unit, batches, by_batch, leavings)
        heads = await unit.heads_of([event.key for event in wanted])
        known = [event for event in wanted if event.key in heads]
        await _hear_of_living(unit, known, heads, now)
        moved = [
            _move(batches[event.batch_id], heads[event.key], head, event, now)
            for event in known
            if (head := advance(heads[event.key], event))
        ]
        if moved:
            await _write(unit, batches, moved, wanted, now, leavings)
    count_moves(moved)
    trace_moves("fold", batches, moved, now)
    return {move.batch_id for move in moved}


async def _wanted(
    unit: Unit, batches: Mapping[str, Batch], by_batch: Mapping[str, Collection[ItemEvent]], leavings: Leavings
) -> list[ItemEvent]:
    """The events of batches that take any, by batch and index."""
    wanted: list[ItemEvent] = []
    for batch in batches.values():
        if batch.state.is_final:
            await _note_late(unit, batch, by_batch[batch.id], leavings)
        # A late result of a batch that was given up is refused: its rows are about to be, or are, cancelled.
        if batch.state not in (BatchState.CANCELLING, BatchState.CANCELLED):
            wanted += by_batch[batch.id]
    return sorted(wanted, key=lambda event: event.key)


async def _hear_of_living(
    unit: Unit, events: Iterable[ItemEvent], heads: Mapping[tuple[str, int], Head], now: float
) -> None:
    alive: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if is_sign_of_life(heads[event.key], event):
            alive[event.batch_id].append(event.index)
    for batch_id, indexes in alive.items():
        await unit.hear(batch_id, indexes, now)


async def _write(
    unit: Unit,
    batches: Mapping[str, Batch],
    moved: Sequence[Move],
    events: Iterable[ItemEvent],
    now: float,
    leavings: Leavings,
) -> None:
    """Write moves, and what follows of them for their batches."""
    await unit.move_items(moved)
    await _point_to_twins(unit, batches, moved)
    changed = [batches[batch_id] for batch_id in sorted({move.batch_id for move in moved})]
    for batch in changed:
        batch.touch(now)
        batch.settle(now)
        leavings.batch_ended |= batch.state.is_final
        leavings.unfinished[batch.id] = batch.counts.total - batch.counts.final
    await unit.save_batches(changed)
    for batch_id, keys in _originals_served(batches, moved, events).items():
        needed = await unit.digests_in_flight(batch_id, keys)
        leavings.keys += [key for digest, key in keys.items() if digest not in needed]


async def _note_late(unit: Unit, batch: Batch, events: Iterable[ItemEvent], leavings: Leavings) -> None:
    """What a late event speaks of may lie in the blob store, and no row may ever speak of it."""
    if any(event.facts.original or event.facts.renders for event in events):
        leavings.batch_ended = True
        if batch.swept:
            batch.swept = False
            await unit.save_batch(batch)


def _originals_served(
    batches: Mapping[str, Batch], moved: Iterable[Move], events: Iterable[ItemEvent]
) -> dict[str, dict[str, str]]:
    """Of each batch, the keys of transient originals of items that have become final, by digest."""
    final = {(move.batch_id, move.index) for move in moved if move.head.state.is_final}
    served: dict[str, dict[str, str]] = defaultdict(dict)
    for event in events:
        original = event.facts.original
        if event.key in final and original is not None and original.key and not batches[event.batch_id].keep_originals:
            served[event.batch_id][original.sha256] = original.key
    return served


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


async def _point_to_twins(unit: Unit, batches: Mapping[str, Batch], moves: Iterable[Move]) -> None:
    """Make every succeeded item with the bytes of another one point to the lowest index that has them."""
    succeeded: dict[str, dict[int, str]] = defaultdict(dict)
    for move in moves:
        if move.head.state is State.SUCCEEDED and move.facts is not None and move.facts.original is not None:
            succeeded[move.batch_id][move.index] = move.facts.original.sha256
    if not succeeded:
        return
    sought = {(batch_id, digest) for batch_id, digests in succeeded.items() for digest in digests.values()}
    lowest = await unit.first_twins_of(sorted(sought))
    for batch_id, digests in succeeded.items():
        known = {digest: lowest[batch_id, digest] for digest in digests.values()}
        await _point_in_batch(unit, batches[batch_id], digests, known)


async def _point_in_batch(
    unit: Unit, batch: Batch, succeeded: Mapping[int, str], lowest: Mapping[str, Sequence[int]]
) -> None:
    """`lowest` has the lowest indexes, two at most, with each digest of what has succeeded now."""
    first = {digest: indexes[0] for digest, indexes in lowest.items()}
    wrong = [Twin(index, digest, None) for index, digest in succeeded.items() if first[digest] not in succeeded]
    # Only a new lowest index makes others point elsewhere, if there are others. Reading all twins of a digest each time
    # would make a list in which one placeholder stands a million times quadratic.
    repeated = {digest for digest, indexes in lowest.items() if len(indexes) > 1}
    wrong += await unit.twins(batch.id, {digest for digest in repeated if first[digest] in succeeded})
    changes: list[tuple[int, int | None, int]] = []
    for twin in sorted(wrong, key=lambda twin: twin.index):
        points_to = first[twin.sha256] if first[twin.sha256] != twin.index else None
        if points_to != twin.duplicate_of:
            batch.duplicates += (points_to is not None) - (twin.duplicate_of is not None)
            batch.revision += 1
            changes.append((twin.index, points_to, batch.revision))
    # In portions: a statement that moved a million twins at once would take longer than a database lets one take.
    for start in range(0, len(changes), POINTED_AT_ONCE):
        await unit.point_duplicates(batch.id, changes[start : start + POINTED_AT_ONCE])


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
