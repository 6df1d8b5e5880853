"""Claims: due items handed to the conveyor for a lease, in a bounded window, shared fairly among batches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from imagemill.domain.batches import Batch, BatchState, Counts
from imagemill.domain.fairness import Demand, first_portions, share
from imagemill.domain.items import ABANDONED, MAX_CLAIMS, Facts, Head, State, Timings
from imagemill.ports.records import RELEASED, Claim, DueItem, Move, Prospect, Records, Unit
from imagemill.runtime.markers import Marker
from storage_svc.choosing import Chooser
from storage_svc.measuring import count_moves, trace_moves

UNPUBLISHED_S = 20.0
"""How long a claim holds that is not recorded as published, in seconds; whoever publishes it renews it meanwhile."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Items claimed of one batch."""

    batch: Batch
    items: Sequence[DueItem]


NO_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """How much a claim may take: items at once, items in flight over all batches, and the least worth a claim."""

    max_items: int
    window: int
    least: int
    backlog: int = NO_LIMIT
    """Items downloaded and not rendered yet."""


async def claim_items(
    records: Records, chooser: Chooser, claim: Claim, limits: ClaimLimits, now: float, *, lease_s: float,
    in_doubt: bool = False,
) -> list[Claimed]:  # fmt: skip
    """Claim due items. Raises `RecordsUnavailable`.

    `lease_s` is how long a published claim holds. `in_doubt` says that claims may have been published and not recorded
    as such, because the store was away: no lease counts as ended then.
    """
    until = RELEASED if in_doubt else now
    # Most looks find nothing, so they lock and write nothing; what they find is locked, and looked at again.
    prospects = await records.prospects()
    chooser.forget_all_but({each.batch_id for each in prospects})
    may_have_expired = any(each.lease_ends_at is not None and each.lease_ends_at <= until for each in prospects)
    wanted = _wants(prospects, limits, now)
    if not wanted and not may_have_expired:
        return []
    async with records.write() as unit:
        found = await unit.working_batches() if may_have_expired else (await unit.batches(wanted)).values()
        active = [batch for batch in found if batch.state is BatchState.ACTIVE]
        expired = await _expired(unit, active, limits, until) if may_have_expired else {}
        if expired:
            # A lease ends when the queues have moved past it; until then it is prolonged, also for a mill that slept.
            await unit.extend_leases(claim.epoch, now + lease_s, now)
            expired = await _expired(unit, active, limits, until)
        waiting = await _waiting(unit, chooser, prospects, {batch.id: batch for batch in found}, limits, now)
        claimed: list[Claimed] = []
        given_up: list[Move] = []
        for batch in active:
            due = expired.get(batch.id, []) + waiting.get(batch.id, [])
            if due:
                claimed.append(Claimed(batch, await _take(unit, claim, batch, due, given_up, now)))
    count_moves(given_up)
    trace_moves("give up", {each.batch.id: each.batch for each in claimed}, given_up, now)
    return claimed


async def claimed_before(records: Records, token: str, lease_until: float, now: float) -> list[Claimed]:
    """What a claim of this token still holds, from now on until `lease_until`. Raises `RecordsUnavailable`."""
    if not await records.is_claim(token):
        return []
    async with records.write() as unit:
        if held := await unit.claimed(token):
            await unit.renew(token, lease_until, now)
        batches = await unit.batches({batch_id for batch_id, _ in held})
    return [Claimed(batch, [item for batch_id, item in held if batch_id == batch.id]) for batch in batches.values()]


async def _expired(unit: Unit, active: Sequence[Batch], limits: ClaimLimits, until: float) -> dict[str, list[DueItem]]:
    """Items in flight whose lease has ended; they are in the window already and need no room."""
    expired: dict[str, list[DueItem]] = {}
    room = limits.max_items
    for batch in active:
        if batch.counts.in_flight and room and (due := await unit.due_items(batch.id, until, room, in_flight=True)):
            expired[batch.id] = due
            room -= len(due)
    return expired


async def _waiting(
    unit: Unit, chooser: Chooser, prospects: Collection[Prospect], locked: Mapping[str, Batch], limits: ClaimLimits,
    now: float,
) -> dict[str, list[DueItem]]:  # fmt: skip
    """Due items of locked batches; how many, is judged by what these count now."""
    present = [
        _as_of(locked[each.batch_id].counts, each) if each.batch_id in locked else each
        for each in prospects
        if each.batch_id not in locked or locked[each.batch_id].state is BatchState.ACTIVE
    ]
    room = limits.window - sum(each.in_flight for each in present)
    waiting = {}
    for batch_id, number in _wants(present, limits, now).items():
        if batch_id in locked:
            waiting[batch_id] = await chooser.due_items(unit, locked[batch_id], now, number, room)
            room -= len(waiting[batch_id])
    return waiting


def _as_of(counts: Counts, prospect: Prospect) -> Prospect:
    to_render = counts[State.DOWNLOADED] + counts[State.PROCESSING]
    return replace(prospect, waiting=counts[State.PENDING], in_flight=counts.in_flight, to_render=to_render)


def _wants(prospects: Collection[Prospect], limits: ClaimLimits, now: float) -> dict[str, int]:
    """How many waiting items to take of each batch."""
    in_flight = sum(each.in_flight for each in prospects)
    backlog = sum(each.to_render for each in prospects)
    demands = [
        Demand(each.batch_id, each.priority, each.in_flight, each.waiting, each.served_at)
        for each in prospects
        if each.waiting and each.due_at is not None and each.due_at <= now
    ]
    wants = first_portions(in_flight, limits.window, limits.max_items, demands)
    taken = sum(wants.values())
    room = min(limits.window - in_flight, limits.backlog - backlog, limits.max_items)
    # Taking each place as it falls free would make a transaction and a message of every item.
    if demands and (room >= min(limits.least, limits.backlog // 2) or not in_flight):
        left = [
            replace(
                demand,
                in_flight=demand.in_flight + wants.get(demand.batch_id, 0),
                waiting=demand.waiting - wants.get(demand.batch_id, 0),
            )
            for demand in demands
        ]
        for batch_id, number in share(room - taken, limits.window, left).items():
            wants[batch_id] = wants.get(batch_id, 0) + number
    return wants


async def _take(
    unit: Unit, claim: Claim, batch: Batch, due: Sequence[DueItem], given_up: list[Move], now: float
) -> list[DueItem]:
    """Claim due items of a batch; those that were claimed too often are added to `given_up`."""
    taken: list[DueItem] = []
    rows: list[tuple[int, Head, int]] = []
    before = len(given_up)
    for item in due:
        batch.revision += 1
        if item.head.claims >= MAX_CLAIMS and item.head.state > State.QUEUED:
            given_up.append(_give_up(batch, item, now))
            continue
        head = Head(max(item.head.state, State.QUEUED), item.head.attempt, item.head.claims + 1)
        batch.counts.move(item.head.state, head.state)
        batch.dispatched += not item.head.state.is_in_flight
        rows.append((item.index, head, batch.revision))
        taken.append(replace(item, head=head))
    if rows:
        await unit.claim(claim, batch.id, rows, now)
    await unit.move_items(given_up[before:])
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


async def enter_epoch(records: Records, epoch: str, now: float, *, again: bool = False) -> bool:
    """Make an epoch the present one, and make due what was claimed in others: it is gone. Raises `RecordsUnavailable`.

    Returns whether it is the present one now: one that was followed by another stays over, unless it is entered
    `again`. The epoch is remembered, though it may be long until anything is claimed in it: otherwise the claims of the
    one before it, whose queues are gone, would be prolonged for ever.
    """
    async with records.write() as unit:
        known = await unit.epochs()
        if epoch in known[1:] and not again:
            return False
        if epoch not in known[:1]:
            await unit.enter_epoch(epoch, now)
        for batch in await unit.batches_in_flight():
            await unit.release(batch.id, epoch=epoch, other_epochs=True)
    return True


async def prolong_claims(records: Records, lease_s: float, now: float) -> None:
    """Prolong the claims whose queues live, and make due what was claimed in other epochs than the present one.

    Whoever claimed that had not noticed yet that its queues were gone. Raises `RecordsUnavailable`.
    """
    async with records.write() as unit:
        for epoch in (await unit.epochs())[:1]:
            await unit.extend_leases(epoch, now + lease_s, now)
            for batch in await unit.batches_in_flight():
                await unit.release(batch.id, epoch=epoch, other_epochs=True)


async def marker_to_send(records: Records, lease_s: float, now: float) -> Marker | None:
    """A marker to follow items in flight that were not heard of for a lease, if there are such; one a lease at most.

    Raises `RecordsUnavailable`.
    """
    async with records.write() as unit:
        for epoch in (await unit.epochs())[:1]:
            if await unit.ask_for_marker(epoch, now - lease_s, now):
                return Marker(epoch, heard_until=now - lease_s)
    return None


async def note_marker(records: Records, marker: Marker, lease_s: float, now: float) -> None:
    """Prolong for the last time what the queues have moved past. Raises `RecordsUnavailable`.

    It may still be in somebody's hands, and has a lease to be heard of.
    """
    async with records.write() as unit:
        if marker.epoch in (await unit.epochs())[:1]:
            await unit.extend_leases(marker.epoch, now + lease_s, now)
            await unit.pass_marker(marker.epoch, marker.heard_until)


async def release_claims(records: Records, epoch: str, *, other_epochs: bool) -> int:
    """Make items in flight due at once, in every working batch. Raises `RecordsUnavailable`.

    Those of `epoch`, because its workers stop; or those of all others, because what was on them is gone.
    """
    async with records.write() as unit:
        released = [
            await unit.release(batch.id, epoch=epoch, other_epochs=other_epochs)
            for batch in await unit.batches_in_flight()
        ]
    return sum(released)
