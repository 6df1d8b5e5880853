"""Thousands of courses of events, by the mill's own code: whatever happens in whichever order, every item comes to the
same."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import update

import storage_svc.claims
import storage_svc.fold
from imagemill.adapters.sql.schema import IN_FLIGHT, items
from imagemill.domain.batches import Counts
from imagemill.domain.items import Head, ItemEvent, State, advance
from storage_svc import batch_reader
from tests.ordering import conveyor
from tests.ordering.running import first_failure, open_theatre
from tests.ordering.schedules import Event, Item, Mishap, Schedule, schedule_of
from tests.ordering.truth import End, end_of

SCHEDULES = int(os.environ.get("IMAGEMILL_TEST_SCHEDULES", "600"))
"""How many courses of events are tried; the promise is about 10,000."""
PROCESSES = 2
SECONDS_EACH = 0.2
SUSPECTS = range(1, 150)
"""Schedules in which a mistake must show."""


@pytest.mark.timeout(120 + SCHEDULES * SECONDS_EACH)
def test_whatever_is_lost_repeated_or_late_and_whoever_dies_every_item_comes_to_what_it_must() -> None:
    share = -(-SCHEDULES // PROCESSES)
    command = [sys.executable, "-m", "tests.ordering"]
    runs = [
        subprocess.Popen(
            [*command, str(first), str(min(first + share, SCHEDULES) - 1)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for first in range(0, SCHEDULES, share)
    ]
    for run in runs:
        said, _ = run.communicate()
        assert run.returncode == 0, said


def test_a_seed_is_one_course_of_events() -> None:
    courses = []
    for _ in range(2):
        with open_theatre() as theatre:
            courses.append(theatre.course(schedule_of(17)))

    assert courses[0] == courses[1]
    assert len(courses[0]) > 20


def test_every_mishap_is_among_the_schedules() -> None:
    met = {event.mishap for seed in range(200) for event in schedule_of(seed).events}

    assert met == set(Mishap)
    assert {event.role for seed in range(200) for event in schedule_of(seed).events} > {"gateway", "storage"}


def test_the_truth_of_an_item_is_what_its_script_says() -> None:
    assert end_of(Item(1)).state is State.SUCCEEDED
    assert end_of(Item(1, bad_downloads=2, bad_renders=1)).attempt == 3
    assert end_of(Item(1, bad_downloads=2, bad_renders=2)).state is State.FAILED
    assert end_of(Item(1, bad_downloads=1, gone=True)) == End(State.FAILED, 1, "SOURCE_NOT_FOUND", None)


def _moves_what_is_final(head: Head, event: ItemEvent) -> Head | None:
    return advance(dataclasses.replace(head, state=min(head.state, State.PROCESSING)), event)


def _heeds_older_attempts(head: Head, event: ItemEvent) -> Head | None:
    return advance(head, dataclasses.replace(event, attempt=max(event.attempt, head.attempt)))


def _counts_twice(self: Counts, old: State, new: State, number: int = 1) -> None:
    self._by_state[old] -= number
    self._by_state[new] += 2 * number if new is State.SUCCEEDED else number


async def _prolongs_everything(self: Any, epoch: str, lease_until: float, now: float) -> None:
    """Whatever became of the queues."""
    await self._connection.change(update(items).where(IN_FLIGHT).values(due_at=lease_until))


async def _sends_no_marker(*_: Any) -> bool:
    return False


async def _points_to_nobody(*_: Any) -> None:
    """Leave duplicates as they are."""


async def _passes_over_an_item(*arguments: Any) -> Any:
    page = await _read_page(*arguments)
    if len(page.items) > 1:
        del page.items[0]
    return page


async def _acknowledges_at_once(self: Any) -> Any:
    received = await _next(self)
    await received.ack()
    return received


_read_page = batch_reader.read_page
_next = conveyor._Receiver.__anext__

_MISTAKES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "final items move": lambda: patch.object(storage_svc.fold, "advance", _moves_what_is_final),
    "older attempts count": lambda: patch.object(storage_svc.fold, "advance", _heeds_older_attempts),
    "successes count twice": lambda: patch.object(Counts, "move", _counts_twice),
    "duplicates are not told": lambda: patch.object(storage_svc.fold, "_point_to_twins", _points_to_nobody),
    "revisions are reused": lambda: patch.object(storage_svc.claims, "_take", _without_revisions),
    "a watch passes over an item": lambda: patch.object(batch_reader, "read_page", _passes_over_an_item),
    "messages are acknowledged before the work": lambda: patch.object(
        conveyor._Receiver, "__anext__", _acknowledges_at_once
    ),
}

_take = storage_svc.claims._take


async def _without_revisions(unit: Any, claim: Any, batch: Any, *rest: Any) -> Any:
    before = batch.revision
    taken = await _take(unit, claim, batch, *rest)
    batch.revision = before
    await unit.save_batch(batch)
    return taken


@pytest.mark.parametrize("mistake", _MISTAKES.values(), ids=_MISTAKES.keys())
def test_a_mistake_shows(mistake: Callable[[], AbstractContextManager[Any]]) -> None:
    with mistake():
        failed = first_failure(SUSPECTS)

    assert failed is not None
    assert f"seed {failed.schedule.seed}" in str(failed)


def test_what_was_on_queues_that_are_gone_is_not_prolonged_while_nothing_is_claimed() -> None:
    # The only item is in flight, and its batch stands still, when the queues are lost.
    events = [Event(Mishap.PAUSE, 0.05, 8.0), Event(Mishap.CRASH, 0.06, 0.5, "downloader"), Event(Mishap.WIPE, 0.1)]
    schedule = Schedule(1, [Item(0)], events)
    with open_theatre() as theatre:
        assert theatre.run(schedule) is None
        with patch("imagemill.adapters.sql.unit.SqlUnit.extend_leases", _prolongs_everything):
            assert theatre.run(schedule) is not None


@pytest.mark.parametrize("message", [1, 2], ids=["on its way to the download", "on its way to the rendering"])
def test_a_message_that_is_lost_while_its_queue_lives_is_found_by_a_marker(message: int) -> None:
    schedule = Schedule(1, [Item(0)], [Event(Mishap.DROP, message)])
    with open_theatre() as theatre:
        assert theatre.run(schedule) is None
        with patch("imagemill.adapters.sql.unit.SqlUnit.ask_for_marker", _sends_no_marker):
            assert theatre.run(schedule) is not None


def test_queues_that_stand_still_for_many_leases_have_nothing_done_twice() -> None:
    stops = [Event(Mishap.CRASH, 0.0, 60.0, "downloader"), Event(Mishap.CRASH, 0.0, 90.0, "processor")]
    with open_theatre() as theatre:
        schedule = Schedule(1, [Item(n) for n in range(6)], stops)
        course = theatre.course(schedule)

        assert theatre.run(schedule) is None
        assert sum(" download of item" in line for line in course) == 6
        assert sum(" render of item" in line for line in course) == 6


def test_what_fails_is_made_small() -> None:
    no_markers = patch("imagemill.adapters.sql.unit.SqlUnit.ask_for_marker", _sends_no_marker)
    with open_theatre() as theatre, _MISTAKES["messages are acknowledged before the work"](), no_markers:
        crash = Event(Mishap.CRASH, 0.3, 1.0, "downloader")
        others = [Event(Mishap.DUPLICATE, 40), Event(Mishap.PAUSE, 3.0, 0.2)]
        failed = theatre.run(Schedule(1, [Item(0), Item(1)], [*others, crash]))
        assert failed is not None
        assert theatre.smallest(failed).schedule.events == [crash]
