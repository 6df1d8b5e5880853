"""Pause, resume, cancel, try again: a flag on the batch decides, and the rows follow in chunks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import grpc

from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.failures import is_of_the_bytes
from imagemill.domain.items import Facts, Head, State
from imagemill.ports.records import Move, Records, Unit
from imagemill.runtime.calls import CallError, not_found
from storage_svc.measuring import count_moves, trace_moves

CHUNK = 1_000
"""Items marked as cancelled in one transaction."""

_ALLOWED = {
    BatchState.PAUSED: (BatchState.ACTIVE,),
    BatchState.ACTIVE: (BatchState.PAUSED,),
    BatchState.CANCELLING: (BatchState.RECEIVING, BatchState.ACTIVE, BatchState.PAUSED),
}
_DONE_BY = {BatchState.PAUSED: "paused", BatchState.ACTIVE: "resumed", BatchState.CANCELLING: "cancelled"}


async def set_state(records: Records, batch_id: str, wish: BatchState, now: float) -> Batch:
    """Move a batch to PAUSED, ACTIVE or CANCELLING; a batch that is there already stays.

    Raises `CallError` when there is no such batch, or it is in a state that does not allow it.
    """
    async with records.write() as unit:
        batch = (await unit.batches([batch_id])).get(batch_id)
        if batch is None:
            raise not_found(f"batches/{batch_id}")
        if batch.state is wish or (wish is BatchState.CANCELLING and batch.state is BatchState.CANCELLED):
            return batch
        if batch.state not in _ALLOWED[wish]:
            allowed = " or ".join(state.name for state in _ALLOWED[wish])
            message = f"Batch {batch_id!r} is {batch.state.name}; only one that is {allowed} can be {_DONE_BY[wish]}."
            raise CallError(grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS", message)
        batch.state = wish
        batch.revision += 1
        batch.touch(now)
        batch.settle(now)
        await unit.save_batch(batch)
        return batch


async def retry_failed(records: Records, batch_id: str, codes: Collection[str], now: float) -> tuple[Batch, int]:
    """Put failed items back for another attempt; the batch, and how many there were.

    Raises `CallError` when there is no such batch, or it is still being received or was cancelled.
    """
    after, retried = -1, 0
    while True:
        async with records.write() as unit:
            batch = await _retryable(unit, batch_id)
            failed = await unit.failed_items(batch_id, after, CHUNK, codes)
            moves = []
            for index, item in failed.items():
                batch.counts.move(item.head.state, State.PENDING)
                batch.revision += 1
                # Counted again when the item is final again.
                batch.downloaded_bytes -= item.size_bytes
                again = Head(State.PENDING, item.head.attempt + 1)
                # An original that was kept is rendered again, unless it is what was wrong.
                facts = Facts() if is_of_the_bytes(item.code) else None
                moves.append(Move(batch_id, index, again, batch.revision, now, None, facts))
            await unit.move_items(moves)
            if moves:
                batch.reopen(now)
                await unit.save_batch(batch)
        retried += len(failed)
        if len(failed) < CHUNK:
            return batch, retried
        after = max(failed)


async def _retryable(unit: Unit, batch_id: str) -> Batch:
    batch = (await unit.batches([batch_id])).get(batch_id)
    if batch is None:
        raise not_found(f"batches/{batch_id}")
    if batch.state not in (BatchState.ACTIVE, BatchState.PAUSED, BatchState.COMPLETED):
        message = f"Batch {batch_id!r} is {batch.state.name}; its items can't be tried again."
        raise CallError(grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS", message)
    return batch


async def sweep_cancelled(records: Records, now: float) -> set[str]:
    """Mark a chunk of items of each batch that is being cancelled; returns the ids of the batches that changed."""
    swept: set[str] = set()
    moved: list[Move] = []
    batches: dict[str, Batch] = {}
    async with records.write() as unit:
        for batch in await unit.cancelling_batches():
            moves = []
            for index, (head, size_bytes) in sorted((await unit.open_items(batch.id, CHUNK)).items()):
                batch.counts.move(head.state, State.CANCELLED)
                batch.downloaded_bytes += size_bytes
                batch.revision += 1
                cancelled = replace(head, state=State.CANCELLED)
                moves.append(Move(batch.id, index, cancelled, batch.revision, 0.0, now, None))
            await unit.move_items(moves)
            batch.touch(now)
            batch.settle(now)
            await unit.save_batch(batch)
            swept.add(batch.id)
            moved += moves
            batches[batch.id] = batch
    count_moves(moved)
    trace_moves("cancel", batches, moved, now)
    return swept
