"""Runs schedules one after the other, and makes those that fail small."""

from __future__ import annotations

import gc
import logging
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

from sqlalchemy import Connection

import gateway.dispatcher
import imagemill.runtime.dead_letters
import storage_svc.inner_api
from imagemill.adapters.sql.sqlite import SqliteRecords, open_sqlite
from tests.ordering.schedules import Schedule, schedule_of
from tests.ordering.store import Audited
from tests.ordering.truth import Truth
from tests.ordering.virtual_time import START, Standstill, VirtualLoop, virtual_time
from tests.ordering.world import World


@dataclass(frozen=True, slots=True)
class Failed:
    """A schedule in which something did not hold."""

    schedule: Schedule
    why: str
    course: list[str]
    """What happened, in its order."""

    def __str__(self) -> str:
        course = "\n".join(f"  {line}" for line in self.course)
        again = f"again: python -m tests.ordering {self.schedule.seed}"
        return f"{self.why}\n{self.schedule}\nwhat happened:\n{course}\n{again}"


class Theatre:
    """Where schedules are run: a loop with its clock, and a store that is emptied between them."""

    def __init__(self, loop: VirtualLoop, records: SqliteRecords, path: Path) -> None:
        self._loop = loop
        self._records = records
        self._truth = Truth(path)

    def run(self, schedule: Schedule) -> Failed | None:
        """Run a schedule; what did not hold, if anything."""
        return self._play(schedule, [])

    def course(self, schedule: Schedule) -> list[str]:
        """Run a schedule; what happened."""
        course: list[str] = []
        self._play(schedule, course)
        return course

    def _play(self, schedule: Schedule, course: list[str]) -> Failed | None:
        self._loop.run_until_complete(self._records._writer.run(_empty))
        self._truth.begin()
        self._loop.now = START
        random.seed(schedule.seed)
        audited = Audited(self._records, self._truth)

        def note(line: str) -> None:
            course.append(f"{self._loop.now - START:8.3f} {line}")

        world = World(schedule, audited, note)
        try:
            self._loop.run_until_complete(world.run())
            world.check()
        except (AssertionError, TimeoutError, Standstill) as error:
            why = str(audited.found or error) or f"the batch did not end ({type(error).__name__})"
            rows = [f"{row}" for row in self._truth.rows.values()]
            return Failed(schedule, why, [*course, *rows, *world.strays])
        return None

    def smallest(self, failed: Failed) -> Failed:
        """The same failure with as few mishaps as it takes."""
        smaller = True
        while smaller:
            smaller = False
            for number in range(len(failed.schedule.events)):
                events = [*failed.schedule.events[:number], *failed.schedule.events[number + 1 :]]
                again = self.run(replace(failed.schedule, events=events))
                if again is not None:
                    failed, smaller = again, True
                    break
        return failed

    def close(self) -> None:
        self._loop.run_until_complete(self._records.close())
        self._truth.close()


def _empty(connection: Connection) -> None:
    for table in ("items", "batches", "claims", "epochs"):
        connection.exec_driver_sql(f"DELETE FROM {table}")


@contextmanager
def open_theatre() -> Iterator[Theatre]:
    """Give a place to run schedules in; whoever looks by itself does so more rarely than in life, since looks cost."""
    with (
        tempfile.TemporaryDirectory() as folder,
        virtual_time() as loop,
        patch.object(gateway.dispatcher, "WAIT_S", 3.0),
        patch.object(storage_svc.inner_api, "POLL_S", 3.0),
        patch.object(imagemill.runtime.dead_letters, "RESUBMIT_S", 1.0),
    ):
        logging.disable(logging.CRITICAL)
        gc.disable()
        path = Path(folder) / "mill.db"
        theatre = Theatre(loop, loop.run_until_complete(open_sqlite(path)), path)
        try:
            yield theatre
        finally:
            gc.enable()
            logging.disable(logging.NOTSET)
            theatre.close()


def first_failure(seeds: Iterable[int], done: Callable[[int], None] = lambda seed: None) -> Failed | None:
    """Run the schedules of these seeds until one fails; that one, made small."""
    with open_theatre() as theatre:
        for seed in seeds:
            failed = theatre.run(schedule_of(seed))
            if failed is not None:
                return theatre.smallest(failed)
            if not seed % 20:
                # Between two schedules it disturbs nobody, and costs a fifth less.
                gc.collect()
            done(seed)
    return None
