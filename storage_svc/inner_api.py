"""StorageService: what the gateway and the workers ask of the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from imagemill import codec
from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.items import State
from imagemill.ports.changes import Changes
from imagemill.ports.records import Claim, NewItem, Records
from imagemill.runtime.calls import Context
from imagemill.v1 import storage_service_pb2 as inner
from imagemill.v1.storage_service_pb2_grpc import StorageServiceServicer
from storage_svc import intake
from storage_svc.claims import (
    Claimed,
    ClaimLimits,
    claim_items,
    claimed_before,
    enter_epoch,
    latest_epoch,
    release_claims,
)

LOOK_S = 0.2
"""The least time between two looks for due items of batches that were heard of before, in seconds: places that fall
free in between are taken together."""
POLL_S = 0.5
"""How often a waiting claim looks by itself, in seconds: retries fall due without anyone announcing them."""


class InnerApi(StorageServiceServicer):
    """Answers the gateway and the workers."""

    def __init__(self, records: Records, changes: Changes, lease_s: float) -> None:
        self._records = records
        self._changes = changes
        self._lease_s = lease_s
        self._epoch = ""
        """The epoch of the work queues, as of the latest claim here."""

    async def OpenBatch(self, request: inner.OpenBatchRequest, context: Context) -> inner.OpenBatchResponse:
        """Open a batch, or return the one that a repeat means."""
        batch = await intake.open_batch(self._records, _new_batch(request, time.time()))
        return inner.OpenBatchResponse(batch=codec.batch_message(batch))

    async def AppendItems(self, request: inner.AppendItemsRequest, context: Context) -> inner.AppendItemsResponse:
        """Make items durable; nobody is woken, since there is no work before the batch is sealed."""
        items = [_new_item(item) for item in request.items]
        await intake.append_items(self._records, request.batch_id, items, time.time())
        return inner.AppendItemsResponse()

    async def SealBatch(self, request: inner.SealBatchRequest, context: Context) -> inner.SealBatchResponse:
        """Make a received batch ACTIVE."""
        batch = await intake.seal_batch(self._records, request.batch_id, request.total, time.time())
        self._changes.announce([batch.id])
        return inner.SealBatchResponse(batch=codec.batch_message(batch))

    async def ClaimItems(self, request: inner.ClaimItemsRequest, context: Context) -> inner.ClaimItemsResponse:
        """Claim due items, waiting a while when none is due; a token used before returns what it claimed."""
        if not await self._is_latest(request.epoch):
            # Whoever asks has not noticed yet that its queues are gone. It will, before it asks again or soon after.
            await asyncio.sleep(LOOK_S)
            return inner.ClaimItemsResponse()
        if repeated := await claimed_before(self._records, request.token):
            return inner.ClaimItemsResponse(batches=[_claim_message(part) for part in repeated])
        deadline = time.monotonic() + request.wait.seconds + request.wait.nanos / 1e9
        limits = ClaimLimits(request.max_items, request.window, least=min(request.window // 4, request.max_items))
        heard: set[str] = set()
        with self._changes.subscribe() as hints:
            while True:
                now = time.time()
                claim = Claim(request.token, request.epoch, now + self._lease_s)
                claimed = await claim_items(self._records, claim, limits, now)
                left = deadline - time.monotonic()
                if claimed or left <= 0:
                    self._changes.announce(part.batch.id for part in claimed)
                    return inner.ClaimItemsResponse(batches=[_claim_message(part) for part in claimed if part.items])
                looked = time.monotonic()
                news = await hints.wait(min(POLL_S, left)) - heard
                heard |= news
                if not news:
                    # At once after a long silence; one that comes soon waits for others to come along.
                    await asyncio.sleep(max(looked + LOOK_S - time.monotonic(), 0.0))

    async def _is_latest(self, epoch: str) -> bool:
        """Whether queues of this epoch live; on the first claim for new ones, what was on the old ones is taken back.

        Other storage services may have heard of a later epoch already: what they were told counts here as well.
        """
        if epoch != self._epoch:
            if epoch < await latest_epoch(self._records):
                return False
            await enter_epoch(self._records, epoch, time.time())
            self._epoch = epoch
        return True

    async def ConfirmClaim(self, request: inner.ConfirmClaimRequest, context: Context) -> inner.ConfirmClaimResponse:
        """Record that a claim was published."""
        async with self._records.write() as unit:
            await unit.confirm(request.token, time.time())
        return inner.ConfirmClaimResponse()

    async def ReleaseClaims(self, request: inner.ReleaseClaimsRequest, context: Context) -> inner.ReleaseClaimsResponse:
        """Give back everything in flight in an epoch."""
        released = await release_claims(self._records, request.epoch, other_epochs=False, now=time.time())
        return inner.ReleaseClaimsResponse(items=released)

    async def FilterWanted(self, request: inner.FilterWantedRequest, context: Context) -> inner.FilterWantedResponse:
        """Tell which items are still wanted: not final, and in the attempt asked about."""
        batch = await self._records.batch(request.batch_id)
        if batch is None or batch.state in (BatchState.CANCELLING, BatchState.CANCELLED):
            return inner.FilterWantedResponse()
        async with self._records.write() as unit:
            heads = await unit.heads(request.batch_id, [item.index for item in request.items])
        wanted = [
            item.index
            for item in request.items
            if (head := heads.get(item.index)) and not head.state.is_final and head.attempt == item.attempt
        ]
        return inner.FilterWantedResponse(indexes=wanted)

    async def FindTwin(self, request: inner.FindTwinRequest, context: Context) -> inner.FindTwinResponse:
        """Find a succeeded item with the given bytes."""
        row = await self._records.twin(request.batch_id, request.sha256)
        return inner.FindTwinResponse(item=codec.item_message(row) if row else None)


def _new_batch(request: inner.OpenBatchRequest, now: float) -> Batch:
    spec, asked = request.spec, request.spec.batch
    return Batch(
        id=spec.batch_id,
        state=BatchState.RECEIVING,
        recipe=request.recipe,
        recipe_fingerprint=asked.recipe_fingerprint,
        display_name=asked.display_name,
        client_id=spec.client_id,
        request_id=spec.request_id,
        labels=dict(asked.labels),
        priority=asked.priority,
        keep_originals=asked.keep_originals,
        keep_undecodable=asked.keep_undecodable,
        revision=1,
        created_at=now,
        changed_at=now,
    )


def _new_item(message: inner.NewItem) -> NewItem:
    failure = codec.failure_value(message.failure) if message.HasField("failure") else None
    skipped = bool(message.source.skip_reason)
    state = State.SKIPPED if skipped else State.FAILED if failure else State.PENDING
    return NewItem(message.index, message.source.uri, message.source.source_row, message.host, state, failure)


def _claim_message(part: Claimed) -> inner.BatchClaim:
    return inner.BatchClaim(
        batch_id=part.batch.id,
        recipe=part.batch.recipe,
        keep_originals=part.batch.keep_originals,
        keep_undecodable=part.batch.keep_undecodable,
        items=_claimed_items(part),
        in_flight=part.batch.counts.in_flight,
    )


def _claimed_items(part: Claimed) -> Iterable[inner.ClaimedItem]:
    for item in part.items:
        stored = item.original if item.original is not None and item.original.key else None
        yield inner.ClaimedItem(
            index=item.index,
            attempt=item.head.attempt,
            claim=item.head.claims,
            source=item.source,
            original=codec.original_message(stored),
            download_ms=item.download_ms if stored else 0.0,
        )
