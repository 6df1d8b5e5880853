"""Watches: told to the end, through broken connections, and never for nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from imagemill.client import BatchUpdate, MillClient, MillError, watching
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch
from tests.unit.client.fake_mill import FakeMill

RECIPE = {"variants": [{"name": "small", "mode": "inside", "width": 10, "height": 10, "format": "jpeg"}]}
URLS = [f"http://example.com/{number}.jpg" for number in range(5)]


async def test_a_watch_tells_every_change_and_ends_with_the_batch(client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")

    updates = [update async for update in client.watch(batch.name, view=api.WATCH_VIEW_ITEMS)]

    assert [update.kind for update in updates][-1] == api.BatchUpdate.KIND_END
    assert [item.index for update in updates for item in update.items] == [0, 1, 2, 3, 4]


async def test_a_broken_watch_goes_on_behind_what_was_told(mill: FakeMill, client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")
    mill.batches["b1"].revision = 41
    mill.breaks = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE]

    away: list[int] = []
    updates = [update async for update in client.watch(batch.name, on_away=lambda: away.append(len(mill.watches)))]

    assert [watch.after_revision for watch in mill.watches] == [0, 41, 41]
    assert away == [1, 2]
    assert updates[-1].kind == api.BatchUpdate.KIND_END


async def test_a_watch_that_is_refused_is_not_tried_again(mill: FakeMill, client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")
    mill.breaks = [grpc.StatusCode.PERMISSION_DENIED]

    with pytest.raises(MillError, match="PERMISSION_DENIED"):
        async for _ in client.watch(batch.name):
            pass

    assert len(mill.watches) == 1


async def test_a_watch_of_a_server_that_stays_away_gives_up(tmp_path: Path) -> None:
    async with MillClient(f"unix:{tmp_path / 'nobody.sock'}") as client:
        with pytest.raises(MillError, match="UNAVAILABLE"):
            async for _ in client.watch("batches/b1", give_up_after_s=0.2):
                pass


def told(name: str, kind: BatchUpdate.Kind.ValueType, revision: int) -> BatchUpdate:
    return BatchUpdate(kind=kind, batch=Batch(name=name), revision=revision)


HEARTBEAT = BatchUpdate(kind=BatchUpdate.KIND_HEARTBEAT)
SNAPSHOT, CHANGE, END = BatchUpdate.KIND_SNAPSHOT, BatchUpdate.KIND_CHANGE, BatchUpdate.KIND_END


async def test_heartbeats_are_not_told(mill: FakeMill, client: MillClient) -> None:
    mill.stories = [[told("batches/a", SNAPSHOT, 1), HEARTBEAT, told("batches/a", END, 2)]]

    assert [update.kind async for update in client.watch("a")] == [SNAPSHOT, END]


async def test_a_connection_that_says_nothing_at_all_is_given_up_for_a_new_one(
    mill: FakeMill, client: MillClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LONGEST_SILENCE_S", 0.1)
    mill.stories = [[told("batches/a", SNAPSHOT, 7), asyncio.Event()], [told("batches/a", END, 9)]]

    assert [update.revision async for update in client.watch("a")] == [7, 9]
    assert [watch.after_revision for watch in mill.watches] == [0, 7]


async def test_a_view_may_be_said_as_a_word(mill: FakeMill, client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE)
    async for _ in client.watch(batch, view="failures"):
        pass

    assert mill.watches[0].view == api.WATCH_VIEW_FAILURES
    with pytest.raises(ValueError, match="no view 'all'; known are progress, failures, items, results"):
        await anext(client.watch(batch, view="all"))  # type: ignore[arg-type]  # a checker would have said so


async def test_waiting_gives_the_batch_as_it_is_in_the_end(client: MillClient) -> None:
    batch = await client.wait(await client.submit(URLS, recipe=RECIPE))

    assert (batch.state, batch.progress.succeeded) == (Batch.STATE_COMPLETED, 5)


async def test_all_batches_are_followed_over_broken_connections_and_none_is_told_twice(
    mill: FakeMill, client: MillClient
) -> None:
    first = [told("batches/a", SNAPSHOT, 5), told("batches/a", END, 5), told("batches/b", SNAPSHOT, 3)]
    again = [told("batches/a", SNAPSHOT, 5), told("batches/a", END, 5), told("batches/b", SNAPSHOT, 4)]
    # a's failed items are tried again
    later = [told("batches/a", SNAPSHOT, 9), told("batches/a", END, 12)]
    mill.stories = [[*first, HEARTBEAT], [*again], [HEARTBEAT, *later]]
    known = {"batches/old": 2}
    heard: list[tuple[str, int]] = []

    updates = client.watch_all(client_id="me", after_revisions=known)
    async for update in updates:
        heard.append((update.batch.name[-1], update.revision))
        if update.revision == 12:
            break
    await updates.aclose()

    assert heard == [("a", 5), ("a", 5), ("b", 3), ("b", 4), ("a", 9), ("a", 12)]
    assert [dict(watch.after_revisions) for watch in mill.all_watches] == [
        known,
        {**known, "batches/a": 5, "batches/b": 3},
        {**known, "batches/a": 5, "batches/b": 4},
    ]
    assert {watch.client_id for watch in mill.all_watches} == {"me"}
