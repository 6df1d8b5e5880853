"""Pause, resume, cancel: a flag on the batch decides, and the rows follow in chunks."""

from __future__ import annotations

from dataclasses import replace

import grpc

from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.items import State
from imagemill.ports.records import Move, Records
from imagemill.runtime.calls import CallError, not_found

CHUNK = 1_000
"""Items marked as cancelled in one transaction."""

_ALLOWED = {
    BatchState.PAUSED: (BatchState.ACTIVE,),
    BatchState.ACTIVE: (BatchState.PAUSED,),
    BatchState.CANCELLING: (BatchState.RECEIVING, BatchState.ACTIVE, BatchState.PAUSED),
}


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
            message = f"Batch {batch_id!r} is {batch.state.name}; it can't become {wish.name}."
            raise CallError(grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS", message)
        batch.state = wish
        batch.revision += 1
        batch.touch(now)
        batch.settle(now)
        await unit.save_batch(batch)
        return batch


async def sweep_cancelled(records: Records, now: float) -> set[str]:
    """Mark a chunk of items of each batch that is being cancelled; returns the ids of the batches that changed."""
    swept: set[str] = set()
    async with records.write() as unit:
        for batch in await unit.working_batches():
            if batch.state is not BatchState.CANCELLING:
                continue
            moves = []
            for index, head in sorted((await unit.open_items(batch.id, CHUNK)).items()):
                batch.counts.move(head.state, State.CANCELLED)
                batch.revision += 1
                cancelled = replace(head, state=State.CANCELLED)
                moves.append(Move(batch.id, index, cancelled, batch.revision, 0.0, now, None))
            await unit.move_items(moves)
            batch.touch(now)
            batch.settle(now)
            await unit.save_batch(batch)
            swept.add(batch.id)
    return swept
