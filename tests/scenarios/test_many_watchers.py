"""A thousand watchers of one batch through a gateway and a storage service, a hundred of whom never read."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import psutil
import pytest

from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Item
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub
from tests.scenarios.watched_services import STEP_S, STEPS
from tests.support.eventually import eventually
from tests.support.processes import Program

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.batch_service_pb2_grpc import BatchServiceAsyncStub

ITEMS = 2_000
"""So many that what a stalled watcher is sent of them does not fit the windows of its connection."""
STALLED = 100
FOLLOWING_ITEMS = 10
FOLLOWING = 890
LARGEST_ARRIVAL = 128 << 20
"""What a thousand who come at once may cost each service, in bytes; most of it is gRPC's own, and varies by a third."""
LARGEST_GROWTH = 16 << 20
"""What telling them of the batch's course may add to that, in bytes; a queue for each that does not read adds twice as
much."""
LONGEST_LAG_S = 8.0
"""What watchers may be behind the truth, in seconds: two, where a thousand clients don't share the processors of both.
Whoever waited for one that never reads would wait for ever."""
LONGEST_S = STEPS * STEP_S + 30.0
TRUTH_S = 0.25
ALL = api.WATCH_VIEW_ITEMS


class Services:
    """The two services at work."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: list[Program] = []
        store = f"unix:{folder}/store.sock"
        self.target = f"unix:{folder}/front.sock"
        self._storage = self._start("storage", store, str(folder), str(ITEMS))
        self._gateway = self._start("gateway", self.target, store)

    def _start(self, *arguments: str) -> Program:
        program = Program([sys.executable, "-m", "tests.scenarios.watched_services", *arguments], self._folder)
        self._programs.append(program)
        program.wait_until(lambda: program.out == "serving\n")
        return program

    def go(self) -> None:
        """Let the batch's items succeed."""
        self._storage.send(signal.SIGUSR1)

    def memory(self) -> dict[str, int]:
        """The memory of each, in bytes."""
        services = {"storage": self._storage, "gateway": self._gateway}
        return {name: psutil.Process(program.pid).memory_info().rss for name, program in services.items()}

    def stop(self) -> None:
        """End both in good order, watched as they are."""
        for program in reversed(self._programs):
            program.send(signal.SIGTERM)
            ended = program.ended(20.0)
            assert (ended.code, ended.err) == (0, ""), ended.said

    def destroy(self) -> None:
        """Leave nothing running."""
        for program in self._programs:
            program.destroy()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = Services(tmp_path)
    try:
        yield services
    finally:
        services.destroy()


@asynccontextmanager
async def stubs_of(target: str, connections: int) -> AsyncIterator[list[BatchServiceAsyncStub]]:
    """Stubs with a connection each: otherwise all channels of a process share one."""
    async with AsyncExitStack() as stack:
        options = (("grpc.use_local_subchannel_pool", 1),)
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(target, options=options))
            for _ in range(connections)
        ]
        yield [BatchServiceStub(channel) for channel in channels]


@dataclass
class Watcher:
    """One who reads on, and when it had heard of which revision."""

    heard: list[tuple[float, int]] = field(default_factory=list)
    states: dict[int, Item.State.ValueType] = field(default_factory=dict)
    ended: bool = False

    async def follow(self, stub: BatchServiceAsyncStub, view: api.WatchView.ValueType) -> None:
        clock = asyncio.get_running_loop().time
        async for response in stub.WatchBatch(api.WatchBatchRequest(name="batches/b", view=view)):
            update = response.update
            self.heard.append((clock(), update.revision))
            self.states |= {item.index: item.state for item in update.items}
            self.ended = update.kind == api.BatchUpdate.KIND_END

    def lag(self, when: float, revision: int) -> float:
        """How long after `when` it heard of what was true then."""
        return min(heard for heard, known in self.heard if known >= revision) - when


async def watch_until_the_end(
    services: Services, stub: BatchServiceAsyncStub
) -> tuple[list[tuple[float, int]], dict[str, int]]:
    """What was true when, and how much memory each service had at most."""
    clock = asyncio.get_running_loop().time
    truth: list[tuple[float, int]] = []
    most = services.memory()
    succeeded = 0
    while succeeded < ITEMS:
        begun = clock()
        batch = (await stub.GetBatch(api.GetBatchRequest(name="batches/b"))).batch
        truth.append((clock(), batch.revision))
        succeeded = batch.progress.succeeded
        most = {name: max(most[name], now) for name, now in services.memory().items()}
        await asyncio.sleep(max(begun + TRUTH_S - clock(), 0.0))
    return truth, most


@pytest.mark.parametrize("connections", [4, 100])
async def test_a_hundred_who_never_read_cost_little_and_keep_nobody_waiting(
    services: Services, connections: int
) -> None:
    # given a batch, and one who has seen all of it, so that everything is loaded that is ever needed
    async with stubs_of(services.target, connections) as stubs, asyncio.timeout(LONGEST_S):
        first = stubs[0].WatchBatch(api.WatchBatchRequest(name="batches/b", view=ALL))
        async for response in first:
            if response.update.revision >= ITEMS:
                break
        first.cancel()
        before = services.memory()

        # when a thousand watch it from its start to its end, and some never read
        request = api.WatchBatchRequest(name="batches/b", view=ALL)
        stalled = [stubs[n % connections].WatchBatch(request) for n in range(STALLED)]
        watchers = [Watcher() for _ in range(FOLLOWING + FOLLOWING_ITEMS)]
        following = [
            asyncio.create_task(
                watcher.follow(stubs[n % connections], ALL if n < FOLLOWING_ITEMS else api.WATCH_VIEW_PROGRESS)
            )
            for n, watcher in enumerate(watchers)
        ]
        await asyncio.gather(*(stub.wait_for_connection() for stub in stalled))
        await eventually(lambda: all(watcher.heard for watcher in watchers), timeout_s=LONGEST_S)
        arrived = services.memory()
        services.go()
        truth, most = await watch_until_the_end(services, stubs[0])
        await asyncio.gather(*following)

        # expect the others to have kept up, and to have been told everything
        assert max(watcher.lag(*moment) for watcher in watchers for moment in truth) <= LONGEST_LAG_S
        assert all(watcher.ended for watcher in watchers)
        done = dict.fromkeys(range(ITEMS), Item.STATE_SUCCEEDED)
        assert [watcher.states for watcher in watchers[:FOLLOWING_ITEMS]] == [done] * FOLLOWING_ITEMS
        # expect either service to have grown by what a thousand calls cost, and then by little
        arrival = {name: arrived[name] - before[name] for name in arrived}
        assert all(grown <= LARGEST_ARRIVAL for grown in arrival.values()), arrival
        growth = {name: most[name] - arrived[name] for name in most}
        assert all(grown <= LARGEST_GROWTH for grown in growth.values()), growth

        # expect one who reads at last to find the latest state, and the services to stop whoever still watches
        late = Watcher()
        async for response in stalled[0]:
            late.states |= {item.index: item.state for item in response.update.items}
        assert late.states == done
        services.stop()
