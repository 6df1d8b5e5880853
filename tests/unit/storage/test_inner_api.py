"""StorageService as the gateway and the workers know it."""

from __future__ import annotations

import asyncio
from typing import Any

from imagemill import codec
from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.items import Facts, Head, State, Timings
from imagemill.v1 import batch_pb2
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1 import storage_service_pb2 as inner
from storage_svc.control import set_state
from storage_svc.fold import fold
from storage_svc.inner_api import InnerApi
from tests.support.builders import (
    FAR_OFF,
    GONE,
    RECIPE,
    batch_of,
    claim_rows,
    digest,
    event,
    new_batch,
    new_items,
    original,
    put_batch,
    rows_of,
    success,
)

LEASE_S = 60.0
NOBODY: Any = None
"""No method of this service asks who calls."""


def opened(records: SqliteRecords, changes: LocalChanges | None = None) -> InnerApi:
    return InnerApi(records, changes or LocalChanges(), LEASE_S)


def ask(token: str = "t", *, epoch: str = "e", wait_s: int = 0, most: int = 10) -> inner.ClaimItemsRequest:
    request = inner.ClaimItemsRequest(token=token, max_items=most, window=100, epoch=epoch)
    request.wait.FromSeconds(wait_s)
    return request


def indexes(response: inner.ClaimItemsResponse) -> dict[str, list[int]]:
    return {part.batch_id: [item.index for item in part.items] for part in response.batches}


async def test_a_batch_is_opened_filled_sealed_and_claimed(records: SqliteRecords) -> None:
    service = opened(records)
    spec = api.BatchSpec(batch_id="b", request_id="r", client_id="c", batch=batch_pb2.Batch(priority=7))
    spec.batch.recipe_fingerprint, spec.batch.labels["input"] = RECIPE.fingerprint(), "urls.txt"
    items = [
        inner.NewItem(index=0, source=api.ItemSource(uri="http://x.test/a", source_row=3), host="x.test"),
        inner.NewItem(index=1, source=api.ItemSource(uri="no"), failure=codec.failure_message(GONE)),
        inner.NewItem(index=2, source=api.ItemSource(uri="-", skip_reason="#"), failure=codec.failure_message(GONE)),
    ]

    await service.OpenBatch(inner.OpenBatchRequest(spec=spec, recipe=RECIPE.to_json()), NOBODY)
    await service.AppendItems(inner.AppendItemsRequest(batch_id="b", items=items), NOBODY)
    sealed = await service.SealBatch(inner.SealBatchRequest(batch_id="b", total=3), NOBODY)
    claimed = await service.ClaimItems(ask(), NOBODY)

    assert (sealed.batch.state, dict(sealed.batch.labels)) == (batch_pb2.Batch.STATE_ACTIVE, {"input": "urls.txt"})
    assert [row.head.state for row in await rows_of(records)] == [State.QUEUED, State.FAILED, State.SKIPPED]
    (part,) = claimed.batches
    assert (part.batch_id, part.recipe) == ("b", RECIPE.to_json())
    (item,) = part.items
    assert (item.index, item.attempt, item.claim, item.source) == (0, 0, 1, "http://x.test/a")
    assert not item.HasField("original")


async def test_a_claim_waits_for_work_to_come(records: SqliteRecords) -> None:
    changes = LocalChanges()
    waiting = asyncio.create_task(opened(records, changes).ClaimItems(ask(wait_s=10), NOBODY))
    await put_batch(records, new_batch(), new_items([0]))
    changes.announce(["b"])

    async with asyncio.timeout(5.0):
        assert indexes(await waiting) == {"b": [0]}


async def test_a_claim_without_work_comes_back_empty_after_its_time(records: SqliteRecords) -> None:
    assert indexes(await opened(records).ClaimItems(ask(), NOBODY)) == {}


async def test_a_repeated_token_gets_the_same_items_and_the_next_one_gets_others(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    service = opened(records)

    first = await service.ClaimItems(ask("mine", most=2), NOBODY)
    again = await service.ClaimItems(ask("mine", most=2), NOBODY)
    other = await service.ClaimItems(ask("another", most=2), NOBODY)

    assert first == again
    assert (indexes(first), indexes(other)) == ({"b": [0, 1]}, {"b": [2, 3]})


async def test_the_first_claim_of_another_epoch_takes_back_what_the_old_one_had(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, range(2), epoch="before", lease_until=FAR_OFF * 10)

    claimed = await opened(records).ClaimItems(ask("new", epoch="now"), NOBODY)

    assert [(item.index, item.claim) for item in claimed.batches[0].items] == [(0, 2), (1, 2)]


async def test_who_asks_for_queues_that_are_gone_gets_nothing_from_any_replica(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    newer = await opened(records).ClaimItems(ask("new", epoch="e2", most=2), NOBODY)
    await opened(records).ConfirmClaim(inner.ConfirmClaimRequest(token="new"), NOBODY)

    # a replica that has not heard of the new queues
    older = await opened(records).ClaimItems(ask("old", epoch="e1"), NOBODY)

    assert (indexes(newer), indexes(older)) == ({"b": [0, 1]}, {})
    assert indexes(await opened(records).ClaimItems(ask("again", epoch="e2"), NOBODY)) == {"b": [2, 3]}


async def test_a_store_that_starts_anew_leaves_the_living_epoch_its_work(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, range(2), epoch="now", lease_until=FAR_OFF * 10)

    assert indexes(await opened(records).ClaimItems(ask("new", epoch="now"), NOBODY)) == {}


async def test_what_is_released_at_a_stop_is_handed_out_again_uncounted(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await opened(records).ClaimItems(ask("old", epoch="before"), NOBODY)

    released = await opened(records).ReleaseClaims(inner.ReleaseClaimsRequest(epoch="before"), NOBODY)
    claimed = await opened(records).ClaimItems(ask("new", epoch="now"), NOBODY)

    assert released.items == 2
    assert [(item.index, item.claim) for item in claimed.batches[0].items] == [(0, 1), (1, 1)]


async def test_only_originals_in_the_blob_store_are_handed_out_with_their_items(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, range(2), lease_until=1.0)
    stored, reused = original(1, key="batches/b/originals/x"), original(2)
    took = Timings(download_ms=7.5)
    told = [
        event(n, State.DOWNLOADED, facts=Facts(original=each, timings=took)) for n, each in enumerate((stored, reused))
    ]
    await fold(records, told, 0.5)

    claimed = await opened(records).ClaimItems(ask("new", epoch="e"), NOBODY)

    first, second = claimed.batches[0].items
    assert codec.original_value(first.original) == stored
    assert (first.download_ms, second.download_ms) == (7.5, 0.0)
    assert not second.HasField("original")


async def test_wanted_are_items_that_are_open_in_the_attempt_asked_about(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    await claim_rows(records, range(4))
    await fold(records, [event(1, State.SUCCEEDED), event(2, State.PENDING)], 1.0)
    attempts = [inner.ItemAttempt(index=index, attempt=0) for index in (0, 1, 2, 3, 9)]
    request = inner.FilterWantedRequest(batch_id="b", items=attempts)

    assert list((await opened(records).FilterWanted(request, NOBODY)).indexes) == [0, 3]

    await set_state(records, "b", BatchState.CANCELLING, 1.0)
    assert list((await opened(records).FilterWanted(request, NOBODY)).indexes) == []
    nowhere = inner.FilterWantedRequest(batch_id="nowhere", items=attempts)
    assert list((await opened(records).FilterWanted(nowhere, NOBODY)).indexes) == []


async def test_a_twin_is_found_with_its_facts(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, range(2))
    await fold(records, [event(1, State.SUCCEEDED, facts=success(7))], 1.0)
    service = opened(records)

    found = await service.FindTwin(inner.FindTwinRequest(batch_id="b", sha256=digest(7)), NOBODY)
    missing = await service.FindTwin(inner.FindTwinRequest(batch_id="b", sha256=digest(8)), NOBODY)

    assert codec.facts_value(found.item) == success(7)
    assert not missing.HasField("item")


async def test_a_confirmed_claim_is_kept_alive_and_an_unconfirmed_one_is_not(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    service = opened(records)
    await service.ClaimItems(ask("confirmed", most=1), NOBODY)
    await service.ClaimItems(ask("lost", most=1), NOBODY)
    await service.ConfirmClaim(inner.ConfirmClaimRequest(token="confirmed"), NOBODY)

    async with records.write() as unit:
        await unit.extend_leases("e", 1e12, 1.0)
        due = await unit.due_items("b", 1e11, 10, in_flight=True)

    assert [(item.index, item.head) for item in due] == [(1, Head(State.QUEUED, 0, 1))]
    assert (await batch_of(records)).counts.in_flight == 2
