"""The dispatcher: claimed, published, recorded; whatever is away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway import dispatcher
from gateway.dispatcher import LEAST_BACKLOG, Departures, Dispatcher, Throughput
from gateway.settings import GatewaySettings
from imagemill import codec
from imagemill.domain.items import SUSPECT_CLAIMS
from imagemill.ports.broker import BrokerUnavailable, Queue
from imagemill.runtime.jobs import LARGEST_MESSAGE
from imagemill.v1 import messages_pb2
from imagemill.v1 import storage_service_pb2 as inner
from tests.support.builders import RECIPE, original
from tests.support.eventually import eventually
from tests.unit.gateway.storing import FakeStore, away
from tests.unit.runtime.working import FlakyBroker, Workshop

SETTINGS = GatewaySettings("unused", "unused", least_window=64, largest_window=512)


@pytest.fixture
def quick_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Throughput that is known after two claims, however quickly they follow."""
    monkeypatch.setattr(dispatcher, "LEAST_SPAN_S", 1e-6)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "RETRY_S", 0.0)


def claim(*indexes: int, batch_id: str = "b", stored: bool = False) -> inner.BatchClaim:
    known = codec.original_message(original(1, key=f"batches/{batch_id}/originals/x")) if stored else None
    items = [
        inner.ClaimedItem(
            index=index, attempt=1, claim=2, source=f"http://pictures.test/{index}", original=known, download_ms=7.5
        )
        for index in indexes
    ]
    return inner.BatchClaim(batch_id=batch_id, recipe=RECIPE.to_json(), keep_originals=stored, items=items)


@asynccontextmanager
async def dispatching(
    store: FakeStore, broker: FlakyBroker, settings: GatewaySettings = SETTINGS
) -> AsyncIterator[None]:
    running = asyncio.create_task(Dispatcher(settings, store.stub, broker).run(asyncio.Event()))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_was_claimed_for_queues_that_are_gone_is_not_published_on_new_ones() -> None:
    store, broker = FakeStore(), FlakyBroker()
    store.claims.append([claim(0, 1)])
    broker.away = True
    async with dispatching(store, broker):
        await eventually(lambda: broker.refused)
        before, broker.epoch = broker.epoch, f"{broker.epoch}-anew"
        broker.away = False
        store.claims.append([claim(5)])
        await until_confirmed(store)

    assert [[job.index for job in message.jobs] for message in await downloads(broker)] == [[5]]
    assert {request.epoch for request in store.asked} == {before, broker.epoch}


async def test_a_claim_is_published_to_its_end_when_the_dispatcher_is_to_stop() -> None:
    store, broker, stop = FakeStore(), FlakyBroker(), asyncio.Event()
    store.claims.append([claim(0)])
    broker.away = True
    running = asyncio.create_task(Dispatcher(SETTINGS, store.stub, broker).run(stop))
    await eventually(lambda: broker.refused)

    stop.set()
    broker.away = False
    await running

    assert len(store.confirmed) == 1
    assert [[job.index for job in message.jobs] for message in await downloads(broker)] == [[0]]


@pytest.mark.parametrize("part", ["store", "broker"])
async def test_a_dispatcher_with_nothing_in_hand_stops_though_what_it_needs_is_away(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(dispatcher, "RETRY_S", 3600.0)
    store, broker, stop = FakeStore(), FlakyBroker(), asyncio.Event()
    tried = asyncio.Event()

    async def no_store(*told: object) -> inner.ClaimItemsResponse:
        tried.set()
        raise away()

    def no_broker(*told: object) -> str:
        tried.set()
        raise BrokerUnavailable("it is away")

    if part == "store":
        monkeypatch.setattr(store, "ClaimItems", no_store)
    else:
        monkeypatch.setattr(FlakyBroker, "epoch", property(no_broker), raising=False)
    running = asyncio.create_task(Dispatcher(SETTINGS, store.stub, broker).run(stop))
    await tried.wait()

    stop.set()
    async with asyncio.timeout(5.0):
        await running


async def until_confirmed(store: FakeStore, number: int = 1) -> None:
    await eventually(lambda: len(store.confirmed) >= number)


async def downloads(broker: FlakyBroker) -> list[messages_pb2.DownloadJobs]:
    return [messages_pb2.DownloadJobs.FromString(body) for body in await Workshop(broker).waits(Queue.DOWNLOAD)]


async def test_what_is_claimed_is_published_and_recorded_as_published() -> None:
    store, broker = FakeStore(), FlakyBroker()
    store.claims.append([claim(0, 1), claim(7, batch_id="c")])

    async with dispatching(store, broker):
        await until_confirmed(store)

    messages = await downloads(broker)
    jobs = [(message.batch_id, job.index) for message in messages for job in message.jobs]
    assert sorted(jobs) == [("b", 0), ("b", 1), ("c", 7)]
    job = messages[0].jobs[0]
    assert (job.attempt, job.claim, job.source) == (1, 2, "http://pictures.test/0")
    assert messages[0].recipe == RECIPE.to_json()
    assert store.confirmed == [store.asked[0].token]
    assert store.asked[0].epoch == broker.epoch


async def test_every_claim_has_a_token_of_its_own() -> None:
    store, broker = FakeStore(), FlakyBroker()
    store.claims.extend([[claim(0)], [claim(1)]])

    async with dispatching(store, broker):
        await until_confirmed(store, 2)

    assert len(set(store.confirmed)) == 2


async def test_what_is_stored_durably_goes_to_rendering_and_the_rest_to_download() -> None:
    store, broker = FakeStore(), FlakyBroker()
    store.claims.append([claim(0, stored=True), claim(1)])

    async with dispatching(store, broker):
        await until_confirmed(store)

    (body,) = await Workshop(broker).waits(Queue.PROCESS)
    message = messages_pb2.ProcessJobs.FromString(body)
    assert [(job.index, job.original_ref) for job in message.jobs] == [(0, "blob:batches/b/originals/x")]
    assert codec.original_value(message.jobs[0].original) == original(1, key="batches/b/originals/x")
    assert message.jobs[0].download_ms == 7.5
    assert [job.index for message in await downloads(broker) for job in message.jobs] == [1]


async def test_messages_grow_with_the_measured_throughput_up_to_their_limit(quick_to_tell: None) -> None:
    store, broker = FakeStore(), FlakyBroker()
    store.claims.extend([claim(*range(start, start + 256))] for start in range(0, 1024, 256))

    async with dispatching(store, broker):
        await until_confirmed(store, 4)

    sizes = [len(message.jobs) for message in await downloads(broker)]
    # Nothing was measured before the first claim: one death repeats one item.
    assert sizes[:256] == [1] * 256
    assert max(sizes) == LARGEST_MESSAGE
    assert sum(sizes) == 1024


async def test_while_the_store_is_away_the_same_claim_is_asked_for_again() -> None:
    store, broker = FakeStore(), FlakyBroker()
    store.claims.append([claim(0)])
    store.failures["ClaimItems"] = 3

    async with dispatching(store, broker):
        await until_confirmed(store)

    assert len({request.token for request in store.asked[:4]}) == 1
    assert len(await downloads(broker)) == 1


async def test_while_the_broker_is_away_nothing_is_recorded_as_published() -> None:
    store, broker = FakeStore(), FlakyBroker()
    store.claims.append([claim(0)])
    broker.away = True

    async with dispatching(store, broker):
        await eventually(lambda: broker.refused > 3)
        assert store.confirmed == []
        broker.away = False
        await until_confirmed(store)

    assert len(await downloads(broker)) == 1


async def test_what_is_on_the_queue_is_not_published_again_because_the_store_is_away() -> None:
    store, broker = FakeStore(), FlakyBroker()
    store.claims.append([claim(0)])
    store.failures["ConfirmClaim"] = 3

    async with dispatching(store, broker):
        await until_confirmed(store)

    assert len(await downloads(broker)) == 1


async def test_the_window_follows_the_throughput_within_its_bounds(quick_to_tell: None) -> None:
    store, broker = FakeStore(), FlakyBroker()
    store.claims.extend([claim(*range(start, start + 256))] for start in range(0, 1024, 256))

    async with dispatching(store, broker):
        await until_confirmed(store, 4)
        await eventually(lambda: len(store.asked) > 4)

    assert store.asked[0].window == 64
    # A thousand items within moments would make a window of many thousands.
    assert store.asked[4].window == 512


async def test_workers_who_hold_more_than_the_largest_window_are_not_left_idle() -> None:
    store, broker = FakeStore(), FlakyBroker()

    async with dispatching(store, broker, replace(SETTINGS, least_window=1024)):
        await eventually(lambda: store.asked)

    assert store.asked[0].window == 1024


def test_claims_that_only_fill_the_window_are_no_throughput() -> None:
    departures = Departures()

    # given a batch whose items stay in flight, then go one by one, whichever gateway had claimed them
    left = [
        departures.since_last([inner.BatchAtWork(batch_id="slow", in_flight=512, departed=departed)])
        for departed in (256, 256, 266, 267)
    ]

    assert left == [0, 0, 10, 1]


def test_what_batches_had_in_flight_that_ended_since_has_left_too() -> None:
    departures = Departures()
    a, b, c = (inner.BatchAtWork(batch_id=batch_id, in_flight=16) for batch_id in "abc")

    # given batches so small that each is claimed once
    left = [departures.since_last(at_work) for at_work in ([a, b], [b, c], [c], [], [])]

    assert left == [0, 16, 16, 16, 0]


@pytest.mark.parametrize(("in_flight", "pauses"), [(LEAST_BACKLOG, False), (5 * LEAST_BACKLOG, True)])
async def test_while_the_throughput_is_unknown_claims_pause_only_when_enough_is_in_flight(
    in_flight: int, pauses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "PACE_S", 1e-6)
    pauses_made = list[float]()
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses_made.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", noted)
    store, broker = FakeStore(), FlakyBroker()
    store.in_flight = in_flight
    store.claims.append([claim(0)])
    await Dispatcher(SETTINGS, store.stub, broker)._dispatch_once("token", broker.epoch, asyncio.Event())

    assert (dispatcher.PACE_S in pauses_made) is pauses


def test_throughput_is_that_of_the_recent_claims() -> None:
    throughput = Throughput(span_s=10.0)
    assert throughput.per_second(0.0) == 0.0

    throughput.record(0.0, 100)
    assert throughput.per_second(5.0) == 20.0

    throughput.record(20.0, 50)
    assert throughput.per_second(22.0) == 25.0


def test_throughput_is_unknown_until_a_while_has_been_looked_at() -> None:
    throughput = Throughput()
    throughput.record(0.0, 0)
    throughput.record(0.5, 400)

    assert throughput.per_second(0.9) == 0.0
    assert throughput.per_second(2.0) == 200.0


async def test_an_item_that_was_claimed_again_and_again_is_published_alone() -> None:
    store, broker = FakeStore(), FlakyBroker()
    suspect = claim(0, 1, 2, 3)
    suspect.items[2].claim = SUSPECT_CLAIMS
    for each in (suspect.items[0], suspect.items[1], suspect.items[3]):
        each.claim = 1
    store.claims.append([suspect])
    async with dispatching(store, broker):
        await until_confirmed(store)

    published = [[job.index for job in message.jobs] for message in await downloads(broker)]
    assert [2] in published
    assert sorted(index for indexes in published for index in indexes) == [0, 1, 2, 3]


class Unsettled(FlakyBroker):
    """A broker that can't tell its epoch at first, as one that is away can't."""

    asked = 0

    @property
    def epoch(self) -> str:
        self.asked += 1
        if self.asked < 3:
            raise BrokerUnavailable("the broker is away")
        return "settled"

    @epoch.setter
    def epoch(self, epoch: str) -> None:
        pass


async def test_nothing_is_claimed_while_the_epoch_of_the_queues_is_not_known() -> None:
    store, broker = FakeStore(), Unsettled()
    store.claims.append([claim(0)])
    async with dispatching(store, broker):
        await until_confirmed(store)

    assert {request.epoch for request in store.asked} == {"settled"}


async def test_a_claim_that_grows_old_is_renewed_and_what_it_holds_no_more_is_not_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatcher, "RENEW_S", 0.0)
    store, broker = FakeStore(), FlakyBroker()
    store.claims.extend([[claim(0, 1, 2)], [claim(0, 2)]])

    async with dispatching(store, broker):
        await until_confirmed(store)

    first, again = store.asked[:2]
    assert (again.token, again.held_only, first.held_only) == (first.token, True, False)
    assert [job.index for message in await downloads(broker) for job in message.jobs] == [0, 2]


async def test_a_claim_that_others_have_taken_over_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "RENEW_S", 0.0)
    store, broker = FakeStore(), FlakyBroker()
    store.claims.extend([[claim(0, 1)], []])

    async with dispatching(store, broker):
        await until_confirmed(store)

    assert await downloads(broker) == []
