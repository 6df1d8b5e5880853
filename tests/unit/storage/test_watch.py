"""Watches: a snapshot, then every change without a gap, heartbeats, the end."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from sqlalchemy import Select

from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import Batch as DomainBatch
from imagemill.domain.batches import BatchState
from imagemill.domain.items import State
from imagemill.runtime.calls import CallError
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch, Item
from storage_svc import batch_reader, watch
from storage_svc.control import set_state
from storage_svc.fold import fold
from storage_svc.watch import Watches
from tests.support.builders import batch_of, claim_rows, event, new_batch, new_items, put_batch, rows_of, success

PATIENCE_S = 10.0
CHANGE, END = api.BatchUpdate.KIND_CHANGE, api.BatchUpdate.KIND_END


@pytest.fixture(autouse=True)
def _no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch as fast as things change; look by itself never, so that only hints wake."""
    monkeypatch.setattr(batch_reader, "PACE_S", 0.0)
    monkeypatch.setattr(batch_reader, "POLL_S", PATIENCE_S)


class Reader:
    """Reads a watch, and keeps what it was told."""

    def __init__(self, updates: AsyncIterator[api.BatchUpdate]) -> None:
        self._updates = updates
        self.items: dict[int, Item] = {}
        self.revision = 0
        self.ended = False

    async def next(self) -> api.BatchUpdate:
        async with asyncio.timeout(PATIENCE_S):
            update = await anext(self._updates)
        for item in update.items:
            assert item.revision > self.revision
            self.items[item.index] = item
        assert update.revision >= self.revision
        self.revision = update.revision
        self.ended = update.kind == api.BatchUpdate.KIND_END
        return update

    async def next_of_many(self) -> api.BatchUpdate:
        """The next of a watch of all batches, where each has revisions of its own."""
        async with asyncio.timeout(PATIENCE_S):
            return await anext(self._updates)

    async def until_the_end(self) -> None:
        while not self.ended:
            await self.next()


async def in_flight(records: SqliteRecords, number: int) -> None:
    await put_batch(records, new_batch(), new_items(range(number)))
    await claim_rows(records, range(number))


async def finish(records: SqliteRecords, changes: LocalChanges, *indexes: int) -> None:
    changes.announce(await fold(records, [event(index, State.SUCCEEDED) for index in indexes], 1.0))


async def test_a_watch_tells_a_snapshot_then_changes_then_the_end(records: SqliteRecords) -> None:
    await in_flight(records, 3)
    changes = LocalChanges()
    reader = Reader(Watches(records, changes).one("b", 0, api.WATCH_VIEW_ITEMS))

    snapshot = await reader.next()
    assert snapshot.kind == api.BatchUpdate.KIND_SNAPSHOT
    assert (snapshot.batch.progress.total, len(snapshot.items)) == (3, 3)

    await finish(records, changes, 1)
    change = await reader.next()
    assert change.kind == api.BatchUpdate.KIND_CHANGE
    assert [(item.index, item.state) for item in change.items] == [(1, Item.STATE_SUCCEEDED)]
    assert change.batch.progress.succeeded == 1

    await finish(records, changes, 0, 2)
    assert {item.index for item in (await reader.next()).items} == {0, 2}
    end = await reader.next()
    assert (end.kind, end.batch.state) == (api.BatchUpdate.KIND_END, Batch.STATE_COMPLETED)
    with pytest.raises(StopAsyncIteration):
        await reader.next()


@pytest.mark.parametrize("after", [0, 7, 1_000])
async def test_no_message_waits_for_more_than_a_stretch_of_revisions_to_be_looked_through(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Failures are rare: what lies between two of them may be millions of rows."""
    monkeypatch.setattr(batch_reader, "STRETCH", 10)
    await in_flight(records, 50)
    await fold(records, [event(index, State.FAILED) for index in (3, 44)], 1.0)
    await fold(records, [event(index, State.SUCCEEDED) for index in range(50) if index not in (3, 44)], 1.0)
    looked: list[int] = []
    changed_items = records.changed_items

    async def looking(batch_id: str, after: int, up_to: int, *rest: Any) -> Any:
        looked.append(up_to - after)
        return await changed_items(batch_id, after, up_to, *rest)

    monkeypatch.setattr(records, "changed_items", looking)
    reader = Reader(Watches(records, LocalChanges()).one("b", after, api.WATCH_VIEW_FAILURES))
    reader.revision = min(after, (await batch_of(records)).revision)

    await reader.until_the_end()
    assert set(reader.items) == (set() if after == 1_000 else {3, 44})
    assert reader.revision == (await batch_of(records)).revision
    assert max(looked) <= 10


async def test_after_a_revision_only_what_changed_later_is_told(records: SqliteRecords) -> None:
    await in_flight(records, 3)
    changes = LocalChanges()
    known = (await batch_of(records)).revision
    await finish(records, changes, 1)

    reader = Reader(Watches(records, changes).one("b", known, api.WATCH_VIEW_ITEMS))

    assert [item.index for item in (await reader.next()).items] == [1]


async def test_a_watch_of_a_batch_that_is_final_tells_it_and_ends(records: SqliteRecords) -> None:
    await in_flight(records, 1)
    await finish(records, LocalChanges(), 0)

    reader = Reader(Watches(records, LocalChanges()).one("b", 0, api.WATCH_VIEW_ITEMS))

    await reader.until_the_end()
    assert set(reader.items) == {0}


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (api.WATCH_VIEW_UNSPECIFIED, set()),
        (api.WATCH_VIEW_PROGRESS, set()),
        (api.WATCH_VIEW_FAILURES, {1}),
        (api.WATCH_VIEW_RESULTS, {0, 1}),
        (api.WATCH_VIEW_ITEMS, {0, 1, 2}),
    ],
)
async def test_a_view_decides_which_items_are_told(
    records: SqliteRecords, view: api.WatchView.ValueType, told: set[int]
) -> None:
    await in_flight(records, 3)
    await fold(records, [event(0, State.SUCCEEDED), event(1, State.FAILED)], 1.0)

    reader = Reader(Watches(records, LocalChanges()).one("b", 0, view))

    assert (await reader.next()).batch.progress.failed == 1
    assert set(reader.items) == told


async def test_a_long_snapshot_comes_in_pages_by_revision(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_reader, "PAGE", 4)
    await put_batch(records, new_batch(), new_items(range(10)))

    reader = Reader(Watches(records, LocalChanges()).one("b", 0, api.WATCH_VIEW_ITEMS))
    pages = [await reader.next() for _ in range(3)]

    assert [len(page.items) for page in pages] == [4, 4, 2]
    assert {page.kind for page in pages} == {api.BatchUpdate.KIND_SNAPSHOT}
    assert set(reader.items) == set(range(10))
    # Whoever hangs up after a page goes on behind it.
    assert [page.revision for page in pages] == [5, 9, (await batch_of(records)).revision]


async def test_a_hint_that_was_lost_costs_a_poll_and_no_update(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_reader, "POLL_S", 0.001)
    await in_flight(records, 1)
    reader = Reader(Watches(records, LocalChanges()).one("b", 0, api.WATCH_VIEW_ITEMS))
    await reader.next()

    await fold(records, [event(0, State.SUCCEEDED)], 1.0)

    await reader.until_the_end()


async def test_in_a_long_silence_heartbeats_are_heard(records: SqliteRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    await in_flight(records, 1)
    changes = LocalChanges()
    monkeypatch.setattr(watch, "HEARTBEAT_S", 0.01)
    reader = Reader(Watches(records, changes).one("b", 0, api.WATCH_VIEW_PROGRESS))
    await reader.next()
    revision = reader.revision

    for _ in range(2):
        heartbeat = await reader.next()
        assert (heartbeat.kind, heartbeat.revision) == (api.BatchUpdate.KIND_HEARTBEAT, revision)


async def test_in_the_silence_of_all_batches_heartbeats_are_heard(records: SqliteRecords) -> None:
    changes = LocalChanges()
    # Every look at this clock takes six seconds.
    clock = itertools.count(0.0, 6.0)
    reader = Reader(Watches(records, changes, lambda: next(clock)).all_of("", {}, api.WATCH_VIEW_PROGRESS))

    for _ in range(2):
        changes.announce(["a batch of somebody else"])
        assert (await reader.next()).kind == api.BatchUpdate.KIND_HEARTBEAT


async def test_a_batch_that_does_not_exist_is_not_found(records: SqliteRecords) -> None:
    with pytest.raises(CallError) as refused:
        await anext(Watches(records, LocalChanges()).one("b", 0, api.WATCH_VIEW_PROGRESS))

    assert refused.value.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("seed", range(3))
async def test_watchers_miss_nothing_however_often_they_come_back(records: SqliteRecords, seed: int) -> None:
    chance, number = random.Random(seed), 30
    await in_flight(records, number)
    changes = LocalChanges()
    watches = Watches(records, changes)
    steady = Reader(watches.one("b", 0, api.WATCH_VIEW_ITEMS))
    returning: dict[int, Item] = {}

    async def come_and_go() -> None:
        revision, ended = 0, False
        while not ended:
            visit = Reader(watches.one("b", revision, api.WATCH_VIEW_ITEMS))
            for _ in range(chance.randint(1, 3)):
                if not visit.ended:
                    await visit.next()
            revision, ended = visit.revision, visit.ended
            returning.update(visit.items)

    async def happen() -> None:
        told = [event(index, state) for index in range(number) for state in (State.PROCESSING, State.SUCCEEDED)]
        told = [event(each.index, each.state, facts=success(each.index % 5)) for each in told]
        chance.shuffle(told)
        while told:
            size = chance.randint(1, 5)
            changes.announce(await fold(records, told[:size], 1.0))
            del told[:size]

    await asyncio.gather(steady.until_the_end(), come_and_go(), happen())

    rows = {row.index: (row.revision, row.duplicate_of) for row in await rows_of(records)}
    for told in (steady.items, returning):
        seen = {
            index: (item.revision, item.duplicate_of if item.HasField("duplicate_of") else None)
            for index, item in told.items()
        }
        assert seen == rows


async def test_all_batches_of_a_client_are_followed_those_that_come_later_included(records: SqliteRecords) -> None:
    await put_batch(records, new_batch("mine", client_id="me"), new_items([0]))
    await put_batch(records, new_batch("other", client_id="you"), new_items([0]))
    changes = LocalChanges()
    updates = Watches(records, changes).all_of("me", {}, api.WATCH_VIEW_ITEMS)

    async def told() -> tuple[str, int]:
        async with asyncio.timeout(PATIENCE_S):
            update = await anext(updates)
        return update.batch.name, update.kind

    assert await told() == ("batches/mine", api.BatchUpdate.KIND_SNAPSHOT)

    await put_batch(records, new_batch("later", client_id="me", created_at=1.0), new_items([0]))
    changes.announce(["later"])
    assert await told() == ("batches/later", api.BatchUpdate.KIND_SNAPSHOT)

    await set_state(records, "mine", BatchState.PAUSED, 1.0)
    changes.announce(["mine"])
    assert await told() == ("batches/mine", api.BatchUpdate.KIND_CHANGE)

    await claim_rows(records, [0], batch_id="mine")
    changes.announce(await fold(records, [event(0, State.SUCCEEDED, batch_id="mine")], 1.0))
    assert await told() == ("batches/mine", api.BatchUpdate.KIND_CHANGE)
    assert await told() == ("batches/mine", api.BatchUpdate.KIND_END)


async def test_following_all_batches_goes_on_behind_the_revisions_that_are_known(records: SqliteRecords) -> None:
    await in_flight(records, 2)
    known = (await batch_of(records)).revision
    await fold(records, [event(1, State.PROCESSING)], 1.0)

    updates = Watches(records, LocalChanges()).all_of("", {"batches/b": known}, api.WATCH_VIEW_ITEMS)

    async with asyncio.timeout(PATIENCE_S):
        assert [item.index for item in (await anext(updates)).items] == [1]


async def test_the_more_batches_there_is_something_to_tell_of_the_longer_until_the_next_time(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        await put_batch(records, new_batch(name), new_items([0]))
    await put_batch(records, new_batch("ended", BatchState.COMPLETED), [])
    changes, paces = LocalChanges(), list[float]()

    async def sleep(delay_s: float) -> None:
        paces.append(delay_s)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    # Its clock stands still: every pace is still to be waited for.
    reader = Reader(Watches(records, changes, lambda: 0.0).all_of("", {}, api.WATCH_VIEW_PROGRESS))
    for _ in range(5):
        await reader.next_of_many()

    async def follow(state: BatchState, now: float) -> None:
        coming = asyncio.create_task(reader.next_of_many())
        await set_state(records, "b", state, now)
        changes.announce(["b"])
        assert (await coming).batch.name == "batches/b"

    await follow(BatchState.PAUSED, 1.0)
    await follow(BatchState.ACTIVE, 2.0)
    monkeypatch.setattr(watch, "LONGEST_PACE_S", 0.0)
    await follow(BatchState.PAUSED, 3.0)

    assert paces == [pytest.approx(3 * watch.PACE_PER_BATCH_S), pytest.approx(watch.PACE_PER_BATCH_S), 0.0]


class CountingView(SqliteRecords):
    """Counts the batches that are read."""

    batches_read = 0

    async def _batches(self, query: Select[Any]) -> list[DomainBatch]:
        found = await super()._batches(query)
        self.batches_read += len(found)
        return found


async def test_following_all_batches_reads_those_that_ended_long_ago_once(
    records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "__class__", CountingView)
    assert isinstance(records, CountingView)
    for number in range(40):
        ended = new_batch(f"old-{number}", BatchState.COMPLETED, created_at=number)
        ended.finished_at = 1000.0 + number
        async with records.write() as unit:
            await unit.insert_batch(ended)
    await in_flight(records, 1)
    changes = LocalChanges()
    reader = Reader(Watches(records, changes).all_of("", {}, api.WATCH_VIEW_PROGRESS))
    told: list[str] = []
    while len(told) < 41 + 40:
        told.append((await reader.next_of_many()).batch.name)
    records.batches_read = 0

    changes.announce(await fold(records, [event(0, State.SUCCEEDED)], 5000.0))
    assert [(await reader.next_of_many()).kind for _ in range(2)] == [CHANGE, END]
    assert records.batches_read <= 1 + 40
    # From here on what ended before is out of sight, until one of it is taken up again.
    records.batches_read = 0
    async with records.write() as unit:
        (again,) = (await unit.batches(["old-7"])).values()
        again.reopen(6000.0)
        again.revision += 1
        await unit.save_batch(again)
    changes.announce(["old-7"])
    assert (await reader.next_of_many()).batch.name == "batches/old-7"
    assert records.batches_read <= 3
