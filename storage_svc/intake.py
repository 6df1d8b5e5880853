"""Intake: a batch is opened, filled in chunks that commit one by one, and sealed. Every step may be repeated."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from imagemill.domain.batches import Batch, BatchState
from imagemill.ports.records import NewItem, Records
from imagemill.runtime.calls import CallError, not_found
from storage_svc.measuring import count_final_at_once

_CANCELLED = (BatchState.CANCELLING, BatchState.CANCELLED)


async def open_batch(records: Records, new: Batch) -> Batch:
    """Open a batch in state RECEIVING, or return the one that a repeat means.

    Raises `CallError` ALREADY_EXISTS when the id is taken by a batch with another recipe.
    """
    async with records.write() as unit:
        if new.request_id and (known := await unit.batch_of_request(new.request_id)):
            return known
        known = (await unit.batches([new.id])).get(new.id)
        if known is None:
            await unit.insert_batch(new)
            return new
    if known.recipe_fingerprint != new.recipe_fingerprint:
        raise CallError(
            grpc.StatusCode.ALREADY_EXISTS,
            "BATCH_EXISTS",
            f"There is a batch {new.id!r} with another recipe; choose another id.",
            [("spec.batch_id", "is taken")],
        )
    return known


async def append_items(records: Records, batch_id: str, items: Sequence[NewItem], now: float) -> None:
    """Make items durable; those that are there already stay as they are.

    Raises `CallError` when there is no such batch or it takes no more items.
    """
    async with records.write() as unit:
        batch = (await unit.batches([batch_id])).get(batch_id)
        if batch is None:
            raise not_found(f"batches/{batch_id}")
        if batch.state is not BatchState.RECEIVING:
            # A repeat of chunks whose seal was answered into the void.
            if set(await unit.heads(batch_id, [item.index for item in items])) >= {item.index for item in items}:
                return
            raise _cancelled(batch_id) if batch.state in _CANCELLED else _sealed(batch_id)
        new = await unit.insert_items(batch_id, items, batch.revision, now)
        for item in items:
            if item.index in new:
                batch.counts.add(item.state)
        batch.revision += len(new)
        batch.changed_at = now
        await unit.save_batch(batch)
    count_final_at_once(item for item in items if item.index in new)


def _cancelled(batch_id: str) -> CallError:
    message = f"Batch {batch_id!r} was cancelled and takes no more items; start another batch for them."
    return CallError(grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS", message)


def _sealed(batch_id: str) -> CallError:
    message = f"Batch {batch_id!r} is complete and takes no more items; start another batch for them."
    return CallError(grpc.StatusCode.FAILED_PRECONDITION, "BATCH_SEALED", message)


async def seal_batch(records: Records, batch_id: str, total: int, now: float) -> Batch:
    """Make a received batch ACTIVE, or final at once when no item of it wants work.

    Raises `CallError` when there is no such batch or items are missing.
    """
    async with records.write() as unit:
        batch = (await unit.batches([batch_id])).get(batch_id)
        if batch is None:
            raise not_found(f"batches/{batch_id}")
        if batch.counts.total != total and batch.state in _CANCELLED:
            raise _cancelled(batch_id)
        if batch.counts.total != total:
            message = (
                f"Batch {batch_id!r} has {batch.counts.total} items, but {total} were announced; send all of them."
            )
            raise CallError(grpc.StatusCode.ABORTED, "ITEMS_MISSING", message)
        if batch.state is BatchState.RECEIVING:
            batch.state = BatchState.ACTIVE
            batch.revision += 1
            batch.changed_at = now
            batch.settle(now)
            await unit.save_batch(batch)
        return batch
