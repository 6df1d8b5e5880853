"""All roles of the mill at their real work, in one process and a virtual time: only what fetches and renders is faked.

Dispatcher, stages, outboxes, events' consumer, claims, fold, dead letters and watches are the mill's own; the rows lie
in a real SQLite file. A process that dies has its tasks cancelled, and what they still say reaches nobody.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, cast

from gateway.dispatcher import Dispatcher
from gateway.settings import GatewaySettings
from imagemill.adapters.local_changes import LocalChanges
from imagemill.domain.batches import BatchState
from imagemill.domain.failures import FailureCode, PermanentError, TransientError
from imagemill.domain.items import ItemEvent, State
from imagemill.domain.retry import RetryPolicy
from imagemill.ports.broker import Queue
from imagemill.runtime.dead_letters import DeadLetters, resubmit
from imagemill.runtime.jobs import (
    DownloadJob,
    ProcessJob,
    ask_wanted,
    decode_downloads,
    decode_processes,
    encode_processes,
)
from imagemill.runtime.lifecycle import every
from imagemill.runtime.outbox import Outbox
from imagemill.runtime.stage import Outcome, Stage, Work
from imagemill.v1 import batch_service_pb2 as api
from storage_svc.control import set_state, sweep_cancelled
from storage_svc.events import EventConsumer, fold_again
from storage_svc.inner_api import InnerApi
from storage_svc.service import look_after_leases
from storage_svc.watch import Watches
from tests.ordering.conveyor import Connection, Conveyor
from tests.ordering.schedules import OF_CALLS, OF_MESSAGES, ROLES, Event, Mishap, Schedule
from tests.ordering.store import Audited, Calls, Store
from tests.ordering.truth import RETRIES, end_of
from tests.support.builders import event, new_batch, new_items, original, put_batch, success

LEASE_S = 4.0
LONGEST_S = 200.0
"""What a batch may take, whatever happens."""
AFTERWARDS_S = 2.0
"""How long is looked on when the batch has ended: what comes late must change nothing."""
GROUP_S = 0.3
"""How long events are gathered, as long as in a mill: whoever dies then has events in hand."""
SLOTS = 3
POLICY = RetryPolicy(retries=RETRIES, delay_s=0.3)


class Process:
    """A process of the mill, until it dies."""

    def __init__(self, connection: Connection, tasks: list[asyncio.Task[Any]]) -> None:
        self.connection = connection
        self.tasks = tasks


class World:
    """Everything there is in one course of events."""

    def __init__(self, schedule: Schedule, audited: Audited, note: Callable[[str], None]) -> None:
        self.schedule = schedule
        self.handled: Counter[tuple[str, int, int]] = Counter()
        self.told: dict[int, tuple[int, int]] = {}
        """What the watcher knows of each item: its state and revision."""
        self.told_up_to = 0
        self.strays: list[str] = []
        self._audited = audited
        self._records = audited.records
        self._note = note
        self._chance = random.Random(f"{schedule.seed} latencies")
        of_messages = {int(each.at): each for each in schedule.events if each.mishap in OF_MESSAGES}
        of_calls = {int(each.at): each for each in schedule.events if each.mishap in OF_CALLS}
        self._conveyor = Conveyor(of_messages, self._chance, note)
        self._calls = Calls(of_calls, self._chance, note)
        self._changes = LocalChanges()
        self._processes: dict[str, Process] = {}
        self._lost: Counter[int] = Counter()
        self._cancelled = asyncio.Event()
        self._gone: list[asyncio.Task[Any]] = []

    async def run(self) -> None:
        """Let it all happen, to the end of the batch and a little longer."""
        await put_batch(self._records, new_batch(created_at=1.0), new_items(range(len(self.schedule.items))))
        for role in ROLES:
            self._start(role)
        mishaps = [asyncio.create_task(self._meet(each)) for each in self.schedule.events]
        try:
            async with asyncio.timeout(LONGEST_S):
                await self._watch()
            await asyncio.sleep(AFTERWARDS_S)
        finally:
            for task in mishaps:
                task.cancel()
            for role in list(self._processes):
                self._die(role)
            await asyncio.gather(*mishaps, *self._gone, return_exceptions=True)

    async def _meet(self, mishap: Event) -> None:
        if mishap.mishap in (*OF_MESSAGES, *OF_CALLS):
            return
        await asyncio.sleep(mishap.at)
        self._note(str(mishap))
        match mishap.mishap:
            case Mishap.CRASH:
                if mishap.role in self._processes:
                    self._die(mishap.role)
                    await asyncio.sleep(mishap.lasts_s)
                    self._start(mishap.role)
            case Mishap.WIPE:
                self._conveyor.wipe()
            case Mishap.PURGE:
                self._conveyor.purge()
            case Mishap.CANCEL:
                await self._wish(BatchState.CANCELLING)
                self._cancelled.set()
                await self._conveyor.broker.broadcast(b"b")
            case Mishap.PAUSE:
                await self._wish(BatchState.PAUSED)
                await asyncio.sleep(mishap.lasts_s)
                await self._wish(BatchState.ACTIVE)

    async def _wish(self, state: BatchState) -> None:
        batch = await self._records.batch("b")
        if batch is None or batch.state.is_final or batch.state is BatchState.CANCELLING:
            return
        await set_state(self._records, "b", state, asyncio.get_running_loop().time())
        self._changes.announce(["b"])

    def _start(self, role: str) -> None:
        connection = Connection(self._conveyor)
        works: dict[str, Callable[[Connection], list[Coroutine[Any, Any, Any]]]] = {
            "gateway": self._gateway,
            "downloader": self._downloader,
            "processor": self._processor,
            "storage": self._storage,
        }
        tasks = [asyncio.create_task(self._living(role, work)) for work in works[role](connection)]
        self._processes[role] = Process(connection, tasks)

    async def _living(self, role: str, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception as error:  # a process that ends by itself is a finding, whatever it ended of
            self.strays.append(f"the {role} ended by itself: {error!r}")

    def _die(self, role: str) -> None:
        process = self._processes.pop(role)
        process.connection.sever()
        if role == "storage" and self._calls.store is not None:
            self._calls.store.dead = True
            process.tasks += self._calls.store.tasks
            self._calls.store = None
        for task in process.tasks:
            task.cancel()
        self._gone += process.tasks

    def _gateway(self, connection: Connection) -> list[Coroutine[Any, Any, Any]]:
        settings = GatewaySettings("", "", least_window=4, largest_window=8)
        return [Dispatcher(settings, cast(Any, self._calls), connection).run(asyncio.Event())]

    def _storage(self, connection: Connection) -> list[Coroutine[Any, Any, Any]]:
        clock = asyncio.get_running_loop().time
        records, changes = self._records, self._changes
        self._calls.store = Store(InnerApi(records, changes, connection, LEASE_S), Watches(records, changes, clock))
        self._cancelled.set()
        letters = {
            Queue.EVENTS: fold_again(records, changes),
            Queue.DOWNLOAD: resubmit(connection, decode_downloads),
            Queue.PROCESS: resubmit(connection, decode_processes),
        }
        return [
            EventConsumer(connection, records, changes, GROUP_S, lease_s=LEASE_S).run(asyncio.Event()),
            every(LEASE_S / 3, look_after_leases(records, connection, LEASE_S)),
            every(LEASE_S, self._sweep, self._cancelled),
            *(DeadLetters(connection, queue, deal).run() for queue, deal in letters.items()),
        ]

    async def _sweep(self) -> None:
        while swept := await sweep_cancelled(self._records, asyncio.get_running_loop().time()):
            self._changes.announce(swept)

    def _downloader(self, connection: Connection) -> list[Coroutine[Any, Any, Any]]:
        work = Work(
            queue=Queue.DOWNLOAD, running=State.DOWNLOADING, decode=decode_downloads, handle=self._download,
            dropped=_nothing, wanted=ask_wanted(cast(Any, self._calls), DownloadJob), slots=SLOTS, policy=POLICY,
        )  # fmt: skip
        outbox = Outbox(connection, next_queue=Queue.PROCESS, encode_next=encode_processes)
        return [Stage(connection, work, outbox).run(asyncio.Event(), 0.0)]

    def _processor(self, connection: Connection) -> list[Coroutine[Any, Any, Any]]:
        work: Work[ProcessJob, None] = Work(
            queue=Queue.PROCESS, running=State.PROCESSING, decode=decode_processes, handle=self._render,
            dropped=_nothing, wanted=ask_wanted(cast(Any, self._calls), ProcessJob), slots=SLOTS, policy=POLICY,
        )  # fmt: skip
        return [Stage(connection, work, Outbox(connection)).run(asyncio.Event(), 0.0)]

    async def _download(self, job: DownloadJob) -> Outcome[ProcessJob]:
        item = self.schedule.items[job.index]
        await self._begin("download", job)
        if job.attempt < item.bad_downloads:
            raise TransientError(FailureCode.CONNECTION_FAILED, "The line went dead.")
        if item.gone:
            raise PermanentError(FailureCode.SOURCE_NOT_FOUND, "There is nothing.")
        found = replace(original(item.content), exif={}, warnings=())
        return Outcome(
            None, ProcessJob(job.batch_id, job.index, job.attempt, "slot:", found, 1.0, job.recipe, job.claim)
        )

    async def _render(self, job: ProcessJob) -> Outcome[None]:
        item = self.schedule.items[job.index]
        await self._begin("render", job)
        if job.attempt < item.bad_downloads + item.bad_renders:
            raise TransientError(FailureCode.RENDER_CRASHED, "The renderer died.")
        if item.broken:
            raise PermanentError(FailureCode.DECODE_FAILED, "This is no picture.")
        if self._lost[job.index] < item.lost_originals:
            self._lost[job.index] += 1
            return Outcome(ItemEvent("b", job.index, job.attempt, State.PENDING, outside_budget=True))
        return Outcome(event(job.index, State.SUCCEEDED, job.attempt, facts=success(item.content)))

    async def _begin(self, stage: str, job: DownloadJob | ProcessJob) -> None:
        self._note(f"{stage} of item {job.index}, attempt {job.attempt}, claim {job.claim}")
        self.handled[stage, job.index, job.attempt] += 1
        if (job.index, job.attempt, job.claim) not in self._audited.truth.granted:
            self.strays.append(f"the {stage} of item {job.index} in attempt {job.attempt} was never granted")
        await asyncio.sleep(self._chance.uniform(0.01, 0.6))

    async def _watch(self) -> None:
        """Follow the batch to its end, through the deaths of whoever tells."""
        ended = False
        while not ended:
            if (store := self._calls.store) is None:
                await asyncio.sleep(0.1)
                continue
            visit = store.start(self._visit(store))
            await asyncio.wait((visit,))
            ended = not visit.cancelled() and visit.result()

    async def _visit(self, store: Store) -> bool:
        async for update in store.watches.one("b", self.told_up_to, api.WATCH_VIEW_ITEMS):
            for item in update.items:
                if item.revision <= self.told_up_to:
                    self.strays.append(f"the watcher was told of revision {item.revision} after {self.told_up_to}")
                self.told[item.index] = (item.state, item.revision)
            if update.revision < self.told_up_to:
                self.strays.append(f"the watch went back to revision {update.revision}")
            self.told_up_to = update.revision
            if update.kind == api.BatchUpdate.KIND_END:
                return True
        return False

    def check(self) -> None:
        """Check what it all came to. Raises `AssertionError`."""
        if self._audited.found is not None:
            raise self._audited.found
        truth = self._audited.truth
        assert not self.strays, "; ".join(self.strays)
        truth.look()
        truth.check_ends(self.schedule.items, cancelled=truth.state is BatchState.CANCELLED)
        known = {index: (row.state.value, row.revision) for index, row in truth.rows.items()}
        assert self.told == known, "the watcher knows what the rows say"
        assert self.told_up_to == truth.revision, "the watch ended on the last revision"
        if not self.schedule.events:
            self._check_nothing_was_done_twice()

    def _check_nothing_was_done_twice(self) -> None:
        for index, item in enumerate(self.schedule.items):
            attempts = end_of(item).attempt + 1
            done = sum(times for (stage, of, _), times in self.handled.items() if (stage, of) == ("download", index))
            assert done == attempts + self._lost[index], f"item {index} was downloaded {done} times"


async def _nothing(job: object) -> None:
    """A fake download holds nothing."""
