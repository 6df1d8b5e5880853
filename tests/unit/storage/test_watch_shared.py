"""Many watchers of one batch: what they have in common is read once, and nobody waits for the slowest."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from typing import Any

import pytest

from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import Batch
from imagemill.domain.items import ItemRow, State
from imagemill.ports.records import RecordsUnavailable
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Item
from storage_svc import batch_reader, watch
from storage_svc.fold import fold
from storage_svc.watch import Watches
from tests.support.builders import batch_of, claim_rows, event, new_batch, new_items, put_batch
from tests.support.eventually import eventually

WATCHERS = 100
ITEMS = 20
PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def _no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_reader, "PACE_S", 0.0)
    monkeypatch.setattr(batch_reader, "PACE_PER_WATCHER_S", 0.0)
    monkeypatch.setattr(batch_reader, "POLL_S", PATIENCE_S)


class CountingView:
    """The rows, with a count of the questions, and answers that can be held back or refused."""

    def __init__(self, records: SqliteRecords) -> None:
        self._records = records
        self.asked: Counter[str] = Counter()
        self.away = False
        self.open = asyncio.Event()
        self.open.set()

    async def batch(self, batch_id: str) -> Batch | None:
        self.asked["batch"] += 1
        await self.open.wait()
        if self.away:
            raise RecordsUnavailable("the database is away")
        return await self._records.batch(batch_id)

    async def changed_items(
        self, batch_id: str, after_revision: int, up_to: int, limit: int, states: Collection[State] = ()
    ) -> list[ItemRow]:
        self.asked["items"] += 1
        return await self._records.changed_items(batch_id, after_revision, up_to, limit, states)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)


class World:
    """A batch in flight, and watches of it."""

    def __init__(self, records: SqliteRecords) -> None:
        self.records = records
        self.view = CountingView(records)
        self.changes = LocalChanges()
        self.watches = Watches(self.view, self.changes)

    def watch(
        self, after: int = 0, view: api.WatchView.ValueType = api.WATCH_VIEW_ITEMS
    ) -> AsyncIterator[api.BatchUpdate]:
        return self.watches.one("b", after, view)

    async def happen(self, *indexes: int, state: State = State.SUCCEEDED, heard: bool = True) -> None:
        changed = await fold(self.records, [event(index, state) for index in indexes], 1.0)
        if heard:
            self.changes.announce(changed)


@pytest.fixture
async def world(records: SqliteRecords) -> World:
    await put_batch(records, new_batch(), new_items(range(ITEMS)))
    await claim_rows(records, range(ITEMS))
    return World(records)


async def told(updates: AsyncIterator[api.BatchUpdate]) -> api.BatchUpdate:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(updates)


async def all_told(watchers: list[AsyncIterator[api.BatchUpdate]]) -> list[api.BatchUpdate]:
    return await asyncio.gather(*(told(updates) for updates in watchers))


async def test_what_changes_is_read_once_for_all_who_watch(world: World) -> None:
    watchers = [world.watch() for _ in range(WATCHERS)]
    await all_told(watchers)
    world.view.asked.clear()

    for index in range(5):
        waiting = asyncio.create_task(all_told(watchers))
        await world.happen(index)
        assert [[item.index for item in update.items] for update in await waiting] == [[index]] * WATCHERS

    assert world.view.asked["items"] == 5
    assert world.view.asked["batch"] <= 10


async def test_those_who_come_together_share_the_snapshot(world: World) -> None:
    snapshots = await all_told([world.watch() for _ in range(WATCHERS)])

    assert {len(snapshot.items) for snapshot in snapshots} == {ITEMS}
    assert world.view.asked["items"] == 1
    assert world.view.asked["batch"] <= 2


async def test_each_view_is_read_by_itself(world: World) -> None:
    views = [api.WATCH_VIEW_ITEMS, api.WATCH_VIEW_FAILURES, api.WATCH_VIEW_PROGRESS]
    await world.happen(3, state=State.FAILED)

    items, failures, progress = await all_told([world.watch(view=view) for view in views])

    assert (len(items.items), [item.index for item in failures.items], len(progress.items)) == (ITEMS, [3], 0)


async def test_one_who_stands_still_keeps_nobody_waiting_and_finds_the_latest_state(world: World) -> None:
    stalled, steady = world.watch(), world.watch()
    await told(stalled)
    await told(steady)

    for state in (State.DOWNLOADING, State.DOWNLOADED, State.PROCESSING, State.SUCCEEDED):
        await world.happen(7, state=state)
        assert [item.index for item in (await told(steady)).items] == [7]

    late = await told(stalled)
    assert [(item.index, item.state) for item in late.items] == [(7, Item.STATE_SUCCEEDED)]
    assert late.revision == (await batch_of(world.records)).revision


async def test_a_newcomer_hears_what_was_true_when_it_came_though_no_hint_told_the_others(world: World) -> None:
    first = world.watch()
    await told(first)
    await world.happen(4, heard=False)

    snapshot = await told(world.watch())

    assert snapshot.revision == (await batch_of(world.records)).revision
    assert {item.index: item.state for item in snapshot.items}[4] == Item.STATE_SUCCEEDED


async def test_one_who_comes_back_never_hears_of_an_earlier_revision(world: World) -> None:
    first = world.watch()
    await told(first)
    await world.happen(4, heard=False)
    known = (await batch_of(world.records)).revision

    back = world.watch(after=known)

    assert (await told(back)).revision == known
    await world.happen(5)
    assert [item.index for item in (await told(back)).items] == [5]


async def test_a_store_that_is_away_is_told_to_all_and_asked_once(world: World) -> None:
    watchers = [world.watch() for _ in range(WATCHERS)]
    await all_told(watchers)
    world.view.asked.clear()
    world.view.away = True

    waiting = [asyncio.create_task(told(updates)) for updates in watchers]
    await asyncio.sleep(0)
    world.changes.announce(["b"])

    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(answer) for answer in answers} == {RecordsUnavailable}
    assert world.view.asked["batch"] == 1

    world.view.away = False
    again = world.watch()
    assert len((await told(again)).items) == ITEMS
    await world.happen(0)
    assert [item.index for item in (await told(again)).items] == [0]


async def test_newcomers_who_wait_for_one_answer_share_its_failure(world: World) -> None:
    world.view.open.clear()
    world.view.away = True
    waiting = [asyncio.create_task(told(world.watch())) for _ in range(WATCHERS)]
    await eventually(lambda: world.view.asked["batch"] == 1)
    world.view.open.set()

    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(answer) for answer in answers} == {RecordsUnavailable}
    assert world.view.asked["batch"] <= 2


async def test_a_reader_ends_with_its_last_watcher(world: World) -> None:
    before = asyncio.all_tasks()
    watchers = [world.watch() for _ in range(3)]
    await all_told(watchers)
    assert len(asyncio.all_tasks() - before) == 1

    for updates in watchers:
        assert isinstance(updates, AsyncGenerator)
        await updates.aclose()

    await eventually(lambda: asyncio.all_tasks() == before)
    world.view.asked.clear()
    await world.happen(0)
    assert not world.view.asked


async def test_a_snapshot_too_long_to_be_kept_is_told_whole_to_each(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_reader, "PAGE", 3)
    monkeypatch.setattr(batch_reader, "PAGES_KEPT", 2)

    async def snapshot() -> list[int]:
        indexes: list[int] = []
        async for update in world.watch():
            indexes += [item.index for item in update.items]
            if update.revision == revision:
                break
        return indexes

    revision = (await batch_of(world.records)).revision
    assert await asyncio.gather(*(snapshot() for _ in range(5))) == [list(range(ITEMS))] * 5


async def test_heartbeats_go_on_while_others_are_told_nothing_new(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "HEARTBEAT_S", 0.005)
    watchers = [world.watch() for _ in range(3)]
    await all_told(watchers)

    beats = await all_told(watchers)

    assert {beat.kind for beat in beats} == {api.BatchUpdate.KIND_HEARTBEAT}


async def test_the_end_of_a_batch_is_told_at_once_and_waits_for_no_pace(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_reader, "PACE_S", 10 * PATIENCE_S)
    updates = world.watch()
    await told(updates)

    await world.happen(0)
    await world.happen(*range(1, ITEMS))

    assert [item.index for item in (await told(updates)).items] == list(range(ITEMS))
    assert (await told(updates)).kind == api.BatchUpdate.KIND_END


async def test_while_items_wait_a_batch_is_read_once_a_round_however_often_it_changes(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_reader, "PACE_S", 0.2)
    await put_batch(records, new_batch(), new_items(range(ITEMS)))
    await claim_rows(records, range(ITEMS - 1))
    world = World(records)
    updates = world.watch()
    await told(updates)
    await world.happen(0)
    await told(updates)

    before = world.view.asked["batch"]
    for index in range(1, 9):
        await world.happen(index)
    assert [item.index for item in (await told(updates)).items] == list(range(1, 9))

    assert world.view.asked["batch"] - before <= 2
