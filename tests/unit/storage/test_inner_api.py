"""StorageService as the gateway and the workers know it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from imagemill import codec
from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.items import Facts, Head, State, Timings
from imagemill.v1 import batch_pb2
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1 import storage_service_pb2 as inner
from storage_svc import inner_api
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
    queues_of,
    rows_of,
    success,
)

LEASE_S = 60.0
NOBODY: Any = None
"""No method of this service asks who calls."""


def opened(
    records: SqliteRecords, changes: LocalChanges | None = None, *, epoch: str = "e", doubt_s: float = 0.0
) -> InnerApi:
    """A storage service whose own broker shows an epoch."""
    return InnerApi(records, changes or LocalChanges(), queues_of(epoch), LEASE_S, doubt_s)


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

    claimed = await opened(records, epoch="now").ClaimItems(ask("new", epoch="now"), NOBODY)

    assert [(item.index, item.claim) for item in claimed.batches[0].items] == [(0, 2), (1, 2)]


async def test_who_asks_for_queues_that_are_gone_gets_nothing_from_any_replica(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    await opened(records, epoch="e1").ClaimItems(ask("first", epoch="e1", most=0), NOBODY)
    newer = await opened(records, epoch="e2").ClaimItems(ask("new", epoch="e2", most=2), NOBODY)
    await opened(records).ConfirmClaim(inner.ConfirmClaimRequest(token="new"), NOBODY)

    # a replica that has not heard of the new queues
    older = await opened(records, epoch="e1").ClaimItems(ask("old", epoch="e1"), NOBODY)
    # one that has, and is asked by a gateway that has not
    unaware = await opened(records, epoch="e2").ClaimItems(ask("unaware", epoch="e1"), NOBODY)

    assert (indexes(newer), indexes(older), indexes(unaware)) == ({"b": [0, 1]}, {}, {})
    again = await opened(records, epoch="e2").ClaimItems(ask("again", epoch="e2"), NOBODY)
    assert indexes(again) == {"b": [2, 3]}


async def test_a_new_epoch_is_the_later_one_whatever_the_clock_has_named_it_by(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await opened(records, epoch="2026").ClaimItems(ask("old", epoch="2026"), NOBODY)
    await opened(records).ConfirmClaim(inner.ConfirmClaimRequest(token="old"), NOBODY)

    # the clock went back, and the queues were lost
    claimed = await opened(records, epoch="1970").ClaimItems(ask("new", epoch="1970"), NOBODY)

    assert indexes(claimed) == {"b": [0, 1]}


async def test_an_epoch_that_is_over_counts_again_when_the_broker_was_set_back_to_it(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    for epoch in ("e1", "e2"):
        await opened(records, epoch=epoch).ClaimItems(ask(epoch, epoch=epoch, most=1), NOBODY)
    service = opened(records, epoch="e1")
    assert indexes(await service.ClaimItems(ask("soon", epoch="e1"), NOBODY)) == {}

    monkeypatch.setattr(inner_api, "SET_BACK_S", 0.0)

    assert indexes(await service.ClaimItems(ask("later", epoch="e1"), NOBODY)) == {"b": [0, 1]}


async def test_what_is_held_is_told_and_kept_without_claiming_more(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    service = opened(records)
    await service.ClaimItems(ask("mine", most=2), NOBODY)
    held, nothing = ask("mine"), ask("another's")
    held.held_only = nothing.held_only = True

    assert indexes(await service.ClaimItems(held, NOBODY)) == {"b": [0, 1]}
    assert indexes(await service.ClaimItems(nothing, NOBODY)) == {}
    assert (await batch_of(records)).counts[State.PENDING] == 2


async def test_no_lease_counts_as_ended_while_the_store_may_have_missed_a_confirmation(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, [0], token="published, and not recorded", lease_until=1.0)
    await claim_rows(records, [1], token="lost", epoch="before", lease_until=FAR_OFF)

    doubtful = await opened(records, doubt_s=60.0).ClaimItems(ask("soon"), NOBODY)
    certain = await opened(records).ClaimItems(ask("later"), NOBODY)

    assert (indexes(doubtful), indexes(certain)) == ({"b": [1]}, {"b": [0]})


async def test_what_has_left_the_queues_is_counted_whoever_put_it_there(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(5)))
    service = opened(records)
    await service.ClaimItems(ask("one gateway's", most=2), NOBODY)
    await fold(records, [event(0, State.SUCCEEDED), event(1, State.PENDING)], 1.0)

    claimed = await service.ClaimItems(ask("another's", most=2), NOBODY)

    assert claimed.at_work == [inner.BatchAtWork(batch_id="b", in_flight=2, departed=2)]


async def test_a_store_that_starts_anew_leaves_the_living_epoch_its_work(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, range(2), epoch="now", lease_until=FAR_OFF * 10)

    assert indexes(await opened(records, epoch="now").ClaimItems(ask("new", epoch="now"), NOBODY)) == {}


async def test_what_is_released_at_a_stop_is_handed_out_again_uncounted(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await opened(records, epoch="before").ClaimItems(ask("old", epoch="before"), NOBODY)

    released = await opened(records).ReleaseClaims(inner.ReleaseClaimsRequest(epoch="before"), NOBODY)
    claimed = await opened(records, epoch="now").ClaimItems(ask("new", epoch="now"), NOBODY)

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
    # item 3 was claimed once
    request.items[3].claim = 1
    assert list((await opened(records).FilterWanted(request, NOBODY)).indexes) == [0, 3]

    await set_state(records, "b", BatchState.CANCELLING, 1.0)
    assert list((await opened(records).FilterWanted(request, NOBODY)).indexes) == []
    nowhere = inner.FilterWantedRequest(batch_id="nowhere", items=attempts)
    assert list((await opened(records).FilterWanted(nowhere, NOBODY)).indexes) == []


async def test_what_was_claimed_again_or_waits_is_not_wanted_by_an_earlier_message(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(3)))
    await claim_rows(records, [0, 1], claims=2)
    items = [inner.ItemAttempt(index=index, claim=claim) for index, claim in ((0, 1), (1, 2), (2, 1))]
    request = inner.FilterWantedRequest(batch_id="b", items=items)

    assert list((await opened(records).FilterWanted(request, NOBODY)).indexes) == [1]


async def test_what_is_downloaded_durably_is_wanted_by_the_renderer_only(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, range(2))
    stored, reused = Facts(original=original(1, key="batches/b/originals/x")), Facts(original=original(2))
    await fold(records, [event(n, State.DOWNLOADED, facts=each) for n, each in enumerate((stored, reused))], 0.5)
    request = inner.FilterWantedRequest(batch_id="b", items=[inner.ItemAttempt(index=index) for index in range(2)])

    assert list((await opened(records).FilterWanted(request, NOBODY)).indexes) == [0, 1]
    request.for_download = True
    assert list((await opened(records).FilterWanted(request, NOBODY)).indexes) == [1]


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
