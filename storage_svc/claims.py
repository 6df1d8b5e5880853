"""Claims: due items handed to the conveyor for a lease, in a bounded window, shared fairly among batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.fairness import Demand, share
from imagemill.domain.items import ABANDONED, MAX_CLAIMS, Facts, Head, State, Timings
from imagemill.ports.records import Claim, DueItem, Move, Records, Unit


@dataclass(frozen=True, slots=True)
class Claimed:
    """Items claimed of one batch."""

    batch: Batch
    items: Sequence[DueItem]


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """How much a claim may take: items at once, items in flight over all batches, and the least worth a claim."""

    max_items: int
    window: int
    least: int


async def claim_items(records: Records, claim: Claim, limits: ClaimLimits, now: float) -> list[Claimed]:
    """Claim due items. Raises `RecordsUnavailable`."""
    async with records.write() as unit:
        active = [batch for batch in await unit.working_batches() if batch.state is BatchState.ACTIVE]
        expired = await _expired(unit, active, limits, now)
        if expired:
            # A mill that slept finds its own leases past their end, though its queues have lost nothing.
            await unit.extend_leases(claim.epoch, claim.lease_until, now)
            expired = await _expired(unit, active, limits, now)
        waiting = await _waiting(unit, active, limits, now)
        claimed = []
        for batch in active:
            due = expired.get(batch.id, []) + waiting.get(batch.id, [])
            if due:
                claimed.append(Claimed(batch, await _take(unit, claim, batch, due, now)))
        return claimed


async def claimed_before(records: Records, token: str) -> list[Claimed]:
    """What a claim of this token holds, when its answer was lost. Raises `RecordsUnavailable`."""
    async with records.write() as unit:
        held = await unit.claimed(token)
        batches = await unit.batches({batch_id for batch_id, _ in held})
    return [Claimed(batch, [item for batch_id, item in held if batch_id == batch.id]) for batch in batches.values()]


async def _expired(unit: Unit, active: Sequence[Batch], limits: ClaimLimits, now: float) -> dict[str, list[DueItem]]:
    """Items in flight whose lease has ended; they are in the window already and need no room."""
    expired: dict[str, list[DueItem]] = {}
    room = limits.max_items
    for batch in active:
        if batch.counts.in_flight and room and (due := await unit.due_items(batch.id, now, room, in_flight=True)):
            expired[batch.id] = due
            room -= len(due)
    return expired


async def _waiting(unit: Unit, active: Sequence[Batch], limits: ClaimLimits, now: float) -> dict[str, list[DueItem]]:
    in_flight = sum(batch.counts.in_flight for batch in active)
    room = min(limits.window - in_flight, limits.max_items)
    # Taking each place as it falls free would make a transaction and a message of every item.
    if room < limits.least and in_flight:
        return {}
    demands = [
        Demand(batch.id, batch.priority, batch.counts.in_flight, batch.counts[State.PENDING])
        for batch in active
        if batch.counts[State.PENDING]
    ]
    shares = share(room, limits.window, demands) if demands else {}
    return {
        batch_id: await unit.due_items(batch_id, now, number, in_flight=False) for batch_id, number in shares.items()
    }


async def _take(unit: Unit, claim: Claim, batch: Batch, due: Sequence[DueItem], now: float) -> list[DueItem]:
    taken: list[DueItem] = []
    rows: list[tuple[int, Head, int]] = []
    given_up: list[Move] = []
    for item in due:
        batch.revision += 1
        if item.head.claims >= MAX_CLAIMS and item.head.state > State.QUEUED:
            given_up.append(_give_up(batch, item, now))
            continue
        head = Head(max(item.head.state, State.QUEUED), item.head.attempt, item.head.claims + 1)
        batch.counts.move(item.head.state, head.state)
        rows.append((item.index, head, batch.revision))
        taken.append(replace(item, head=head))
    if rows:
        await unit.claim(claim, batch.id, rows, now)
    await unit.move_items(given_up)
    if batch.started_at is None:
        batch.started_at = batch.changed_at = now
    batch.touch(now)
    batch.settle(now)
    await unit.save_batch(batch)
    return taken


def _give_up(batch: Batch, item: DueItem, now: float) -> Move:
    batch.counts.move(item.head.state, State.FAILED)
    if item.original is not None:
        batch.downloaded_bytes += item.original.size_bytes
    head = replace(item.head, state=State.FAILED)
    timings = Timings(download_ms=item.download_ms) if item.original is not None else None
    facts = Facts(failure=ABANDONED, original=item.original, timings=timings)
    return Move(batch.id, item.index, head, batch.revision, 0.0, now, facts)


async def latest_epoch(records: Records) -> str:
    """The latest epoch that was heard of; empty when there is none. Raises `RecordsUnavailable`."""
    async with records.write() as unit:
        return await unit.latest_epoch()


async def enter_epoch(records: Records, epoch: str, now: float) -> None:
    """Make due what was claimed in earlier epochs: it is gone. Raises `RecordsUnavailable`.

    The epoch is remembered, though it may be long until anything is claimed in it: otherwise the claims of the one
    before it, whose queues are gone, would be prolonged for ever.
    """
    async with records.write() as unit:
        await unit.enter_epoch(epoch, now)
        for batch in await unit.working_batches():
            await unit.release(batch.id, epoch=epoch, other_epochs=True, now=now)


async def prolong_claims(records: Records, lease_s: float, now: float) -> None:
    """Prolong the claims whose queues live, and make due what was claimed in earlier epochs.

    Whoever claimed that had not noticed yet that its queues were gone. Raises `RecordsUnavailable`.
    """
    async with records.write() as unit:
        if epoch := await unit.latest_epoch():
            await unit.extend_leases(epoch, now + lease_s, now)
            for batch in await unit.working_batches():
                await unit.release(batch.id, epoch=epoch, other_epochs=True, now=now)


async def release_claims(records: Records, epoch: str, *, other_epochs: bool, now: float) -> int:
    """Make items in flight due at once, in every working batch. Raises `RecordsUnavailable`.

    Those of `epoch`, because its workers stop; or those of all others, because what was on them is gone.
    """
    async with records.write() as unit:
        released = [
            await unit.release(batch.id, epoch=epoch, other_epochs=other_epochs, now=now)
            for batch in await unit.working_batches()
        ]
    return sum(released)
