"""Watches that share what is asked of the store: nobody misses anything, waits for another one, or costs a call."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc
import pytest

from gateway import shared_watches
from gateway.shared_watches import ASKING, KEPT, SharedWatches
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Item
from tests.support.eventually import eventually
from tests.unit.gateway.watched_store import WatchedStore, is_away

ITEMS = 10
PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def _no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_watches, "PACE_PER_FOLLOWER_S", 0.0)


class Watcher:
    """One who watches, and may stop reading for a while."""

    def __init__(
        self,
        watches: SharedWatches,
        view: api.WatchView.ValueType = api.WATCH_VIEW_ITEMS,
        after_revision: int = 0,
    ) -> None:
        self.states: dict[int, Item.State.ValueType] = {}
        self.kinds: list[api.BatchUpdate.Kind.ValueType] = []
        self.revisions = [after_revision]
        self.reads = asyncio.Event()
        self.reads.set()
        request = api.WatchBatchRequest(name="batches/b", view=view, after_revision=after_revision)
        self.task = asyncio.create_task(self._follow(watches.watch(request)))

    async def _follow(self, watch: AsyncGenerator[api.WatchBatchResponse, None]) -> None:
        async with aclosing(watch) as responses:
            async for response in responses:
                self.kinds.append(response.update.kind)
                self.revisions.append(response.update.revision)
                self.states |= {item.index: item.state for item in response.update.items}
                await self.reads.wait()

    @property
    def ended(self) -> bool:
        return self.task.done() and self.kinds[-1] == api.BatchUpdate.KIND_END

    async def has_caught_up(self, store: WatchedStore) -> None:
        await eventually(lambda: self.revisions[-1] == store.revision)


async def test_many_watchers_cost_one_call_and_hear_everything() -> None:
    store = WatchedStore(ITEMS)
    watches = SharedWatches(store.stub)
    watchers = [Watcher(watches) for _ in range(50)]
    for watcher in watchers:
        await watcher.has_caught_up(store)

    await eventually(lambda: len(store.open) == 1)
    for index in range(ITEMS):
        store.move(index)
        await watchers[0].has_caught_up(store)
    store.finish()
    await eventually(lambda: all(watcher.ended for watcher in watchers))

    for watcher in watchers:
        assert watcher.states == store.states
        assert watcher.kinds.count(api.BatchUpdate.KIND_SNAPSHOT) == 4, "the pages of one snapshot"
        assert watcher.kinds.count(api.BatchUpdate.KIND_END) == 1
        assert watcher.revisions == sorted(watcher.revisions)
    await eventually(lambda: not store.open)


@pytest.mark.parametrize("view", [api.WATCH_VIEW_ITEMS, api.WATCH_VIEW_PROGRESS])
async def test_one_who_stops_reading_keeps_nobody_waiting_and_finds_the_latest_state(
    view: api.WatchView.ValueType,
) -> None:
    store = WatchedStore(ITEMS)
    watches = SharedWatches(store.stub)
    stalled, other = Watcher(watches, view), Watcher(watches, view)
    for watcher in (stalled, other):
        await watcher.has_caught_up(store)
    stalled.reads.clear()

    for number in range(3 * KEPT):
        store.move(number % ITEMS)
        await other.has_caught_up(store)
    heard = len(stalled.kinds)
    stalled.reads.set()
    await stalled.has_caught_up(store)

    assert len(stalled.kinds) - heard <= ITEMS, "it is told the latest state, not all that has been"
    assert stalled.states == other.states
    store.finish()
    await eventually(lambda: stalled.ended and other.ended)


async def test_a_call_that_breaks_is_each_followers_own_to_make_again() -> None:
    store = WatchedStore(ITEMS)
    watches = SharedWatches(store.stub)
    watchers = [Watcher(watches) for _ in range(5)]
    for watcher in watchers:
        await watcher.has_caught_up(store)
    await eventually(lambda: len(store.open) == 1)

    store.break_calls()
    store.move(7)
    for watcher in watchers:
        await watcher.has_caught_up(store)
    store.finish()

    await eventually(lambda: all(watcher.ended for watcher in watchers))
    assert all(watcher.states == store.states for watcher in watchers)


async def test_a_refusal_reaches_the_caller() -> None:
    watches = SharedWatches(WatchedStore(ITEMS).stub)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(watches.watch(api.WatchBatchRequest(name="batches/none")))

    assert is_away(refused.value)


async def test_who_comes_back_hears_only_what_is_new() -> None:
    store = WatchedStore(ITEMS)
    watches = SharedWatches(store.stub)
    first = Watcher(watches)
    await first.has_caught_up(store)
    store.move(4)

    back = Watcher(watches, after_revision=ITEMS)
    await back.has_caught_up(store)
    store.move(5)
    await back.has_caught_up(store)

    assert set(back.states) == {4, 5}
    assert back.kinds == [api.BatchUpdate.KIND_SNAPSHOT, api.BatchUpdate.KIND_CHANGE]
    for watcher in (first, back):
        watcher.task.cancel()
    await eventually(lambda: not store.open)


async def test_who_claims_to_know_more_than_there_is_hears_what_comes_and_holds_nobody_up() -> None:
    # After a restore of the database, say.
    store = WatchedStore(ITEMS)
    watches = SharedWatches(store.stub)
    ahead = Watcher(watches, after_revision=1_000)
    await ahead.has_caught_up(store)
    other = Watcher(watches)
    await other.has_caught_up(store)

    store.move(3)
    await ahead.has_caught_up(store)
    await other.has_caught_up(store)
    await eventually(lambda: len(store.open) == 1)

    assert 3 in ahead.states
    for watcher in (ahead, other):
        watcher.task.cancel()
    await eventually(lambda: not store.open)


class Crowd:
    """Watchers who come, leave and dawdle while the batch changes and calls break."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.store = WatchedStore(ITEMS)
        self.watches = SharedWatches(self.store.stub)
        self.watchers: list[Watcher] = []

    async def step(self) -> None:
        deeds = (self._move, self._move, self._move, self._come, self._leave, self._dawdle, self._break)
        self.chance.choice(deeds)()
        for _ in range(self.chance.randrange(10)):
            await asyncio.sleep(0)

    def _move(self) -> None:
        self.store.move(self.chance.randrange(ITEMS), self.chance.choice(Item.State.values()[1:]))

    def _come(self) -> None:
        known = self.chance.choice([0, self.store.revision])
        self.watchers.append(Watcher(self.watches, after_revision=known))
        if known:
            self.watchers[-1].states = dict(self.store.states)

    def _leave(self) -> None:
        if self.watchers:
            self.watchers.pop(self.chance.randrange(len(self.watchers))).task.cancel()

    def _dawdle(self) -> None:
        if self.watchers:
            reads = self.chance.choice(self.watchers).reads
            reads.clear() if reads.is_set() else reads.set()

    def _break(self) -> None:
        if self.chance.random() < 0.2:
            self.store.break_calls()

    async def end(self) -> list[BaseException | None]:
        """End the batch; how each watch ended."""
        self.watchers.append(Watcher(self.watches))
        self.store.finish()
        for watcher in self.watchers:
            watcher.reads.set()
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*(watcher.task for watcher in self.watchers), return_exceptions=True)


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_comes_leaves_or_dawdles_all_end_with_the_truth(seed: int) -> None:
    crowd = Crowd(seed)
    for _ in range(300):
        await crowd.step()

    ends = await crowd.end()

    for watcher, end in zip(crowd.watchers, ends, strict=True):
        # A call of one's own that breaks is told; whoever hears it asks again.
        assert end is None or (isinstance(end, grpc.aio.AioRpcError) and is_away(end))
        assert watcher.revisions == sorted(watcher.revisions)
        if end is None:
            assert watcher.states == crowd.store.states
    assert any(end is None for end in ends)
    await eventually(lambda: not crowd.store.open)


async def test_newcomers_ask_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_watches, "TURN_S", PATIENCE_S)
    store = WatchedStore(ITEMS)
    watches = SharedWatches(store.stub)
    store.answering.clear()

    watchers = [Watcher(watches) for _ in range(3 * ASKING)]
    await eventually(lambda: store.asked == ASKING)
    for _ in range(10):
        await asyncio.sleep(0)
    assert store.asked == ASKING

    store.answering.set()
    for watcher in watchers:
        await watcher.has_caught_up(store)


async def test_a_store_that_does_not_answer_is_asked_by_a_few_more_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_watches, "TURN_S", 0.1)
    store = WatchedStore(ITEMS)
    watches = SharedWatches(store.stub)
    store.answering.clear()
    clock = asyncio.get_running_loop().time

    begun = clock()
    watchers = [Watcher(watches) for _ in range(2 * ASKING + 1)]
    await eventually(lambda: store.asked > ASKING)
    # expect the last to wait for those who came in the second turn, too
    await eventually(lambda: store.asked > 2 * ASKING)
    assert clock() - begun >= 2 * shared_watches.TURN_S

    store.answering.set()
    for watcher in watchers:
        await watcher.has_caught_up(store)
