"""Watches through the public contract: snapshot, changes, end; resumed without a gap; all of a client's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch, Item
from storage_svc import batch_reader, watch
from tests.support.picture_server import status
from tests.unit.embedded.conftest import PATIENCE_S, Desk

Kind = api.BatchUpdate.Kind


async def updates(desk: Desk, request: api.WatchBatchRequest) -> AsyncIterator[api.BatchUpdate]:
    call = desk.mill.WatchBatch(request)
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for response in call:
                yield response.update
    finally:
        call.cancel()


async def test_a_watch_tells_everything_until_the_end(desk: Desk) -> None:
    batch = await desk.create("watched", [*desk.good(5), desk.server.route("/gone.jpg", status(404))])
    request = api.WatchBatchRequest(name=batch.name, view=api.WATCH_VIEW_ITEMS)

    told = [update async for update in updates(desk, request)]

    assert [told[0].kind, told[-1].kind] == [Kind.KIND_SNAPSHOT, Kind.KIND_END]
    items = {item.index: item for update in told for item in update.items}
    assert [items[index].state for index in range(6)] == [Item.STATE_SUCCEEDED] * 5 + [Item.STATE_FAILED]
    revisions = [update.revision for update in told]
    assert revisions == sorted(revisions)
    assert told[-1].batch.state == Batch.STATE_COMPLETED
    assert told[-1].batch.progress.succeeded == 5


async def test_a_watch_that_comes_back_goes_on_where_it_was(desk: Desk) -> None:
    batch = await desk.create("resumed", desk.good(20))
    seen: dict[int, Item] = {}
    revision, ended = 0, False
    while not ended:
        request = api.WatchBatchRequest(name=batch.name, after_revision=revision, view=api.WATCH_VIEW_ITEMS)
        async for update in updates(desk, request):
            assert all(item.revision > revision for item in update.items)
            seen |= {item.index: item for item in update.items}
            revision, ended = update.revision, update.kind == Kind.KIND_END
            if update.items:
                break

    assert seen == {item.index: item for item in await desk.items(batch.name)}
    # Everything was told: a watch behind the last revision has nothing to add.
    request = api.WatchBatchRequest(name=batch.name, after_revision=revision, view=api.WATCH_VIEW_ITEMS)
    again = [update async for update in updates(desk, request)]
    assert [update.kind for update in again] == [Kind.KIND_SNAPSHOT, Kind.KIND_END]
    assert [len(update.items) for update in again] == [0, 0]


@pytest.mark.parametrize(
    ("view", "told"),
    [(api.WATCH_VIEW_PROGRESS, set()), (api.WATCH_VIEW_FAILURES, {1}), (api.WATCH_VIEW_RESULTS, {0, 1})],
)
async def test_a_watch_tells_what_its_view_asks_for(desk: Desk, view: api.WatchView.ValueType, told: set[int]) -> None:
    batch = await desk.finished("viewed", [*desk.good(1), "no url"])

    found = [update async for update in updates(desk, api.WatchBatchRequest(name=batch.name, view=view))]

    assert {item.index for update in found for item in update.items} == told
    assert found[0].batch.progress.total == 2


async def test_a_batch_in_which_nothing_moves_is_heard_of_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(batch_reader, "POLL_S", 0.01)
    batch = await desk.create("silent", [desk.stuck()])

    async for update in updates(desk, api.WatchBatchRequest(name=batch.name)):
        if update.kind == Kind.KIND_HEARTBEAT:
            assert update.revision > 0
            assert not update.HasField("batch")
            break


async def test_a_paused_batch_tells_its_watchers(desk: Desk) -> None:
    batch = await desk.create("paused", [desk.stuck()])
    await desk.mill.PauseBatch(api.PauseBatchRequest(name=batch.name))

    async for update in updates(desk, api.WatchBatchRequest(name=batch.name)):
        if update.batch.state == Batch.STATE_PAUSED:
            break


async def test_all_batches_of_a_client_are_watched_together(desk: Desk) -> None:
    await desk.finished("before", desk.good(1, "before"), client_id="me")
    await desk.finished("foreign", desk.good(1, "foreign"), client_id="you")
    call = desk.mill.WatchBatches(api.WatchBatchesRequest(client_id="me", view=api.WATCH_VIEW_ITEMS))
    ended: set[str] = set()
    named: set[str] = set()
    async with asyncio.timeout(PATIENCE_S):
        async for response in call:
            update = response.update
            named.add(update.batch.name)
            if update.kind == Kind.KIND_END:
                ended.add(update.batch.name)
            if ended == {"batches/before"}:
                await desk.create("after", desk.good(1, "after"), client_id="me")
            if len(ended) == 2:
                break
    call.cancel()

    assert named == ended == {"batches/before", "batches/after"}
