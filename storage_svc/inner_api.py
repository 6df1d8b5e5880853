"""StorageService: what the gateway and the workers ask of the store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence

from imagemill import codec
from imagemill.domain.batches import Batch, BatchState
from imagemill.domain.items import Head, State
from imagemill.ports.broker import Broker, BrokerUnavailable
from imagemill.ports.changes import Changes
from imagemill.ports.records import Claim, NewItem, Prospect, Records, RecordsUnavailable
from imagemill.runtime.calls import Context
from imagemill.strikes import Point, strike
from imagemill.v1 import storage_service_pb2 as inner
from imagemill.v1.storage_service_pb2_grpc import StorageServiceServicer
from storage_svc import intake
from storage_svc.choosing import Chooser
from storage_svc.claims import (
    NO_LIMIT,
    UNPUBLISHED_S,
    Claimed,
    ClaimLimits,
    claim_items,
    claimed_before,
    enter_epoch,
    release_claims,
)

log = logging.getLogger(__name__)

LOOK_S = 0.2
"""The least time between two looks for due items of batches that were heard of before, in seconds: places that fall
free in between are taken together."""
POLL_S = 0.5
"""How often a waiting claim looks by itself, in seconds: retries fall due without anyone announcing them."""
DOUBT_S = 5.0
"""How long after it was away the store does not know which claims were published, in seconds: gateways that could not
tell it meanwhile do so by then."""
SET_BACK_S = 120.0
"""How long an epoch that is over must be seen until it counts as come back, in seconds: longer than anybody can have
missed that it is over."""


class InnerApi(StorageServiceServicer):
    """Answers the gateway and the workers."""

    def __init__(
        self, records: Records, changes: Changes, broker: Broker, lease_s: float, doubt_s: float = DOUBT_S
    ) -> None:
        self._records = records
        self._changes = changes
        self._broker = broker
        self._chooser = Chooser()
        self._lease_s = lease_s
        self._doubt_s = doubt_s
        self._in_doubt_until = time.monotonic() + doubt_s
        self._epoch = ""
        """The epoch of the work queues, as of the latest claim here."""
        self._over = ("", 0.0)
        """An epoch that was asked about though it is over, and since when."""

    async def OpenBatch(self, request: inner.OpenBatchRequest, context: Context) -> inner.OpenBatchResponse:
        """Open a batch, or return the one that a repeat means."""
        batch = await intake.open_batch(self._records, _new_batch(request, time.time()))
        strike(Point.CHUNK_COMMITTED)
        return inner.OpenBatchResponse(batch=codec.batch_message(batch))

    async def AppendItems(self, request: inner.AppendItemsRequest, context: Context) -> inner.AppendItemsResponse:
        """Make items durable; nobody is woken, since there is no work before the batch is sealed."""
        items = [_new_item(item) for item in request.items]
        await intake.append_items(self._records, request.batch_id, items, time.time())
        strike(Point.CHUNK_COMMITTED)
        return inner.AppendItemsResponse()

    async def SealBatch(self, request: inner.SealBatchRequest, context: Context) -> inner.SealBatchResponse:
        """Make a received batch ACTIVE."""
        batch = await intake.seal_batch(self._records, request.batch_id, request.total, time.time())
        strike(Point.CHUNK_COMMITTED)
        self._changes.announce([batch.id])
        return inner.SealBatchResponse(batch=codec.batch_message(batch))

    async def ClaimItems(self, request: inner.ClaimItemsRequest, context: Context) -> inner.ClaimItemsResponse:
        """Claim due items, waiting a while when none is due; a token used before returns what it claimed."""
        try:
            return await self._claimed(request)
        except RecordsUnavailable:
            self._in_doubt_until = time.monotonic() + self._doubt_s
            raise

    async def _claimed(self, request: inner.ClaimItemsRequest) -> inner.ClaimItemsResponse:
        if not await self._is_present(request.epoch):
            # Whoever asks has not noticed yet that its queues are gone. It will, before it asks again or soon after.
            await asyncio.sleep(LOOK_S)
            return inner.ClaimItemsResponse()
        unpublished_s = min(UNPUBLISHED_S, self._lease_s)
        now = time.time()
        repeated = await claimed_before(self._records, request.token, now + unpublished_s, now)
        if repeated or request.held_only:
            return await self._answer(repeated)
        deadline = time.monotonic() + request.wait.seconds + request.wait.nanos / 1e9
        least = min(request.window // 4, request.max_items)
        limits = ClaimLimits(request.max_items, request.window, least, backlog=request.backlog or NO_LIMIT)
        heard: set[str] = set()
        with self._changes.subscribe() as hints:
            while True:
                now = time.time()
                claim = Claim(request.token, request.epoch, now + unpublished_s)
                in_doubt = time.monotonic() < self._in_doubt_until
                claimed = await claim_items(
                    self._records, self._chooser, claim, limits, now, lease_s=self._lease_s, in_doubt=in_doubt
                )
                if claimed:
                    strike(Point.CLAIM_COMMITTED)
                left = deadline - time.monotonic()
                if claimed or left <= 0:
                    self._changes.announce(part.batch.id for part in claimed)
                    return await self._answer(claimed)
                looked = time.monotonic()
                news = await hints.wait(min(POLL_S, left)) - heard
                heard |= news
                if not news:
                    # At once after a long silence; one that comes soon waits for others to come along.
                    await asyncio.sleep(max(looked + LOOK_S - time.monotonic(), 0.0))

    async def _answer(self, claimed: Sequence[Claimed]) -> inner.ClaimItemsResponse:
        at_work = [each for each in await self._records.prospects() if each.in_flight]
        return inner.ClaimItemsResponse(
            batches=[_claim_message(part) for part in claimed if part.items],
            at_work=[_at_work_message(each) for each in at_work],
        )

    async def _is_present(self, epoch: str) -> bool:
        """Whether queues of this epoch live; on the first claim for new ones, what was on the old ones is taken back.

        No clock tells which of two epochs is the later one: a new one is entered when this process, too, sees it.
        """
        try:
            seen = self._broker.epoch
        except BrokerUnavailable:
            seen = self._epoch
        if epoch != seen:
            return False
        if epoch != self._epoch:
            if not await enter_epoch(self._records, epoch, time.time(), again=self._has_come_back(epoch)):
                return False
            self._epoch = epoch
        return True

    def _has_come_back(self, epoch: str) -> bool:
        """Whether an epoch has been seen so long that it can't be over: the broker was set back to an earlier state."""
        known, since = self._over
        if known != epoch:
            self._over = (epoch, time.monotonic())
            return False
        return time.monotonic() - since > SET_BACK_S

    async def ConfirmClaim(self, request: inner.ConfirmClaimRequest, context: Context) -> inner.ConfirmClaimResponse:
        """Record that a claim was published."""
        try:
            async with self._records.write() as unit:
                await unit.confirm(request.token, time.time())
        except RecordsUnavailable:
            self._in_doubt_until = time.monotonic() + self._doubt_s
            raise
        strike(Point.CLAIM_COMMITTED)
        return inner.ConfirmClaimResponse()

    async def ReleaseClaims(self, request: inner.ReleaseClaimsRequest, context: Context) -> inner.ReleaseClaimsResponse:
        """Give back everything in flight in an epoch."""
        released = await release_claims(self._records, request.epoch, other_epochs=False)
        return inner.ReleaseClaimsResponse(items=released)

    async def FilterWanted(self, request: inner.FilterWantedRequest, context: Context) -> inner.FilterWantedResponse:
        """Tell which items are still wanted: in flight by the claim asked about, and not beyond what is asked for."""
        batch = await self._records.batch(request.batch_id)
        if batch is None or batch.state in (BatchState.CANCELLING, BatchState.CANCELLED):
            return inner.FilterWantedResponse()
        async with self._records.write() as unit:
            heads = await unit.heads(request.batch_id, [item.index for item in request.items])
            # What is downloaded was handed on before the store heard of it.
            done = await unit.stored(request.batch_id, heads) if request.for_download else set()
        wanted = [
            item.index
            for item in request.items
            if item.index not in done and (head := heads.get(item.index)) and _is_wanted(head, item)
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
        trace=request.trace,
        revision=1,
        created_at=now,
        changed_at=now,
    )


def _is_wanted(head: Head, asked: inner.ItemAttempt) -> bool:
    """Whether somebody is to do what a message asks for; what waits, or was claimed later, is done by another one."""
    return head.state.is_in_flight and head.attempt == asked.attempt and (asked.claim or head.claims) >= head.claims


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
        priority=part.batch.priority,
        trace=part.batch.trace,
    )


def _at_work_message(prospect: Prospect) -> inner.BatchAtWork:
    departed = prospect.dispatched - prospect.in_flight
    return inner.BatchAtWork(batch_id=prospect.batch_id, in_flight=prospect.in_flight, departed=departed)


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
