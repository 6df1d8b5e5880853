"""Messages on the queues, byte by byte and value by value: none ends the consumer that meets it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill import codec
from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.adapters.sql.sqlite import SqliteRecords, open_sqlite
from imagemill.domain.items import ItemEvent, State
from imagemill.ports.broker import Queue
from imagemill.runtime.jobs import (
    DownloadJob,
    ProcessJob,
    decode_downloads,
    decode_processes,
    encode_processes,
)
from imagemill.runtime.outbox import Outbox
from imagemill.runtime.stage import Outcome, Stage, Work
from imagemill.v1 import batch_pb2, messages_pb2
from storage_svc.events import EventConsumer
from storage_svc.report import make_report
from tests.fuzz.effort import TALLY, cases
from tests.fuzz.mutations import damage, damaged
from tests.support.builders import (
    RECIPE,
    assert_counters_equal_rows,
    claim_rows,
    event,
    new_batch,
    new_items,
    original,
    put_batch,
    rows_of,
)
from tests.support.eventually import eventually

LONGEST = 2000
BATCH = b"batch-000000"
"""Stands in every message for the batch of its case: a row takes only so many events."""
EVENTS = (State.PROCESSING, State.SUCCEEDED, State.FAILED, State.PENDING)
NUMBERS = st.sampled_from([0, 1, 4, 5, 100, 2**31 - 1, -1, -(2**31)])
LARGE = st.sampled_from([0, 1, 4, 5, 100, 2**31, 2**63 - 1, -1, -(2**63)])
REAL = st.sampled_from([0.0, 1.5, -1.0, 1e9, 1e300, float("inf"), float("-inf"), float("nan")])
GOOD = 4
"""The index of the item that only good events speak of, as a rule."""
TEXTS = st.sampled_from(["", "b", "DECODE_FAILED", "OF_THE_FUTURE", "\0", "é" * 100, "a/../b"])


def told(index: int, state: State, *, batch_id: str = BATCH.decode()) -> bytes:
    message = codec.event_message(event(index, state, batch_id=batch_id))
    return messages_pb2.ItemEvents(events=[message]).SerializeToString()


def odd_events() -> st.SearchStrategy[bytes]:
    """Events that can be read and hold what no worker writes."""
    spent = st.builds(batch_pb2.Timings, download_ms=REAL, decode_ms=REAL, cpu_ms=REAL)
    made = st.builds(batch_pb2.Render, variant=TEXTS, key=TEXTS, format=TEXTS, width=NUMBERS, size_bytes=LARGE)
    found = st.builds(
        batch_pb2.Original,
        **{name: TEXTS for name in ("sha256", "format", "mode", "key", "undecodable_key")},
        **{name: NUMBERS for name in ("width", "height", "tries", "http_status")},
        size_bytes=LARGE,
        exif=st.dictionaries(TEXTS, TEXTS, max_size=2),
    )
    odd = st.builds(
        messages_pb2.ItemEvent,
        batch_id=st.sampled_from([BATCH.decode()] * 8 + ["", "none"]),
        index=st.integers(0, 3) | LARGE,
        attempt=st.just(0) | NUMBERS,
        state=st.sampled_from([1, 1, 6, 6, 7, 7, *range(13)]),
        failure=st.none() | st.builds(batch_pb2.Failure, code=TEXTS, message=TEXTS, http_status=NUMBERS, tries=NUMBERS),
        delay_s=REAL,
        outside_budget=st.booleans(),
        original=st.none() | found,
        renders=st.lists(made, max_size=2),
        timings=st.none() | spent,
    )
    return st.lists(odd, max_size=3).map(lambda events: messages_pb2.ItemEvents(events=events).SerializeToString())


def damaged_bodies(wholes: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    bodies = st.builds(damaged, st.sampled_from(wholes), st.lists(damage(), max_size=3).map(tuple))
    # No worker packs more jobs than a few; thousands of them would only take their time.
    return bodies.map(lambda body: body[:LONGEST])


class Store:
    """A store whose consumer of events runs from the first case to the last."""

    def __init__(self, records: SqliteRecords) -> None:
        self._records = records
        self._broker, self._stop = MemoryBroker(), asyncio.Event()
        self._cases = 0
        self._consume()

    def _consume(self) -> None:
        consumer = EventConsumer(self._broker, self._records, LocalChanges(), group_s=0.0)
        self._consumer = asyncio.create_task(consumer.run(self._stop))

    @classmethod
    async def open(cls, path: Path) -> Store:
        return cls(await open_sqlite(path))

    async def fold(self, bodies: Sequence[bytes]) -> None:
        """Put messages on the queue and a good one behind them; it is folded, and everything can still be read."""
        self._cases += 1
        batch_id = f"batch-{self._cases:06d}"
        await put_batch(self._records, new_batch(batch_id), new_items(range(5)))
        await claim_rows(self._records, range(4), batch_id=batch_id)
        good = told(GOOD, State.FAILED, batch_id=batch_id)
        await self._broker.publish(Queue.EVENTS, [body.replace(BATCH, batch_id.encode()) for body in bodies] + [good])

        async def is_folded() -> bool:
            if self._consumer.done():
                ended = self._consumer
                self._consume()  # the case that ended it is to be found, and shrunk by others
                ended.result()
            (row,) = await self._records.items(batch_id, GOOD - 1, 1)
            return row.head.state.is_final

        await eventually(is_folded, pause_s=0.001)
        await assert_counters_equal_rows(self._records, batch_id)
        for row in await rows_of(self._records, batch_id):
            codec.item_message(row).SerializeToString()
        tally = await self._records.tally(batch_id)
        assert tally is not None
        make_report(tally, 0.0).SerializeToString()

    async def close(self) -> None:
        self._stop.set()
        await self._consumer
        await self._records.close()
        TALLY["messages: events set aside"] += len(self._broker._dead[Queue.EVENTS].waiting)


def test_events_of_any_bytes_and_values_never_end_the_store(tmp_path: Path) -> None:
    wholes = [told(number, state) for number, state in enumerate(EVENTS)]
    bodies = st.one_of(damaged_bodies(wholes), odd_events())
    with asyncio.Runner() as runner:
        store = runner.run(Store.open(tmp_path / "mill.db"))

        @cases(200)
        @given(st.lists(bodies, min_size=1, max_size=3))
        def folded(bodies: list[bytes]) -> None:
            runner.run(store.fold(bodies))

        folded()
        runner.run(store.close())


DOWNLOADS = messages_pb2.DownloadJobs(
    batch_id="b",
    recipe=RECIPE.to_json(),
    jobs=[messages_pb2.DownloadJob(index=index, claim=index, source="http://a.example/1.jpg") for index in (1, 2)],
)
PROCESSES = [ProcessJob("b", index, 0, "slot:1:2", original(index), 3.0, RECIPE.to_json()) for index in (1, 2)]
MARK = "the end of a case"


class Worker:
    """A stage of a worker that runs from the first case to the last; its handler reads everything in a job."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self._broker, self._stop = queue, MemoryBroker(), asyncio.Event()
        self._marks = 0
        decode = decode_downloads if queue is Queue.DOWNLOAD else decode_processes
        work: Work[DownloadJob | ProcessJob, None] = Work(
            queue, State.PROCESSING, decode, self._handle, self._drop, self._all, slots=4
        )
        self._stage = asyncio.create_task(Stage(self._broker, work, Outbox[None](self._broker)).run(self._stop, 1.0))

    @classmethod
    async def open(cls, queue: Queue) -> Worker:
        return cls(queue)

    async def take(self, bodies: Sequence[bytes]) -> None:
        """Put messages on the queue and a good one behind them; it is handled."""
        marks = self._marks
        await self._broker.publish(self._queue, [*bodies, _marking(self._queue, marks)])
        await eventually(lambda: self._stage.done() or self._marks > marks, timeout_s=30.0, pause_s=0.001)
        assert not self._stage.done(), self._stage.exception()

    async def close(self) -> None:
        self._stop.set()
        await self._stage
        TALLY[f"messages: {self._queue} set aside"] += len(self._broker._dead[self._queue].waiting)

    async def _handle(self, job: DownloadJob | ProcessJob) -> Outcome[None]:
        if job.batch_id == MARK:
            self._marks += 1
        if isinstance(job, ProcessJob):
            assert job.recipe.fingerprint() == job.fingerprint
        return Outcome(ItemEvent(job.batch_id, job.index, job.attempt, State.SUCCEEDED, job.facts))

    async def _drop(self, job: DownloadJob | ProcessJob) -> None:
        """Nothing is held."""

    async def _all(self, jobs: Sequence[DownloadJob | ProcessJob]) -> Sequence[DownloadJob | ProcessJob]:
        return jobs


def _marking(queue: Queue, number: int) -> bytes:
    """A job of its own for each case: one that is in hand still is not taken up twice."""
    if queue is Queue.DOWNLOAD:
        return messages_pb2.DownloadJobs(
            batch_id=MARK, jobs=[messages_pb2.DownloadJob(index=number)]
        ).SerializeToString()
    (body,) = encode_processes([ProcessJob(MARK, number, 0, "", original(), 0.0, RECIPE.to_json())])
    return body


@pytest.mark.parametrize("queue", [Queue.DOWNLOAD, Queue.PROCESS])
def test_jobs_of_any_bytes_never_end_a_worker(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A message may hold a thousand empty jobs, of which each fails with a traceback: they need not be kept.
    caplog.set_level(logging.CRITICAL, "imagemill.runtime.stage")
    monkeypatch.setattr(MemoryBroker, "gather_s", 0.0)  # those that were claimed often wait for each group
    wholes = [DOWNLOADS.SerializeToString(), *encode_processes(PROCESSES)]
    with asyncio.Runner() as runner:
        worker = runner.run(Worker.open(queue))

        @cases(150)
        @given(st.lists(damaged_bodies(wholes), min_size=1, max_size=3))
        def taken(bodies: list[bytes]) -> None:
            runner.run(worker.take(bodies))

        taken()
        runner.run(worker.close())
