"""The lines of a mill with many batches: few, and each true."""

from __future__ import annotations

import time

import pytest

from imagemill.cli.bulletin import Bulletin
from imagemill.v1.batch_pb2 import Batch, Progress


def batch(
    name: str = "a",
    state: Batch.State.ValueType = Batch.STATE_ACTIVE,
    *,
    total: int = 100,
    done: int = 0,
    failed: int = 0,
    rate: float = 0.0,
    display_name: str = "",
) -> Batch:
    progress = Progress(
        total=total, succeeded=done, failed=failed, pending=total - done - failed, items_per_second=rate
    )
    return Batch(name=f"batches/{name}", state=state, display_name=display_name, progress=progress)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_a_batch_is_told_when_it_comes_when_it_changes_and_when_it_ends(clock: Clock) -> None:
    said = list[str]()
    bulletin = Bulletin(said.append)

    bulletin.hear(batch(state=Batch.STATE_RECEIVING))
    bulletin.hear(batch(display_name="urls.txt"))
    bulletin.hear(batch(done=5))
    bulletin.hear(batch(state=Batch.STATE_PAUSED, done=5))
    bulletin.hear(batch(done=5))
    assert bulletin.unfinished == 1
    bulletin.hear(batch(state=Batch.STATE_COMPLETED, done=98, failed=2))
    bulletin.ended(batch(state=Batch.STATE_COMPLETED, done=98, failed=2), " → pictures/a")

    assert said == [
        "a (urls.txt): taken in, 100 items",
        "a: is paused",
        "a: goes on",
        "a: done, 100 items: 98 succeeded, 2 failed → pictures/a",
    ]
    assert bulletin.unfinished == 0


def test_a_batch_that_was_begun_before_goes_on(clock: Clock) -> None:
    said = list[str]()

    Bulletin(said.append).hear(batch(done=1200, total=5000, state=Batch.STATE_PAUSED), is_old=True)

    assert said == ["a: goes on, 1,200 of 5,000 done before, paused"]


def test_a_batch_of_which_some_is_done_by_the_time_it_is_heard_of_is_still_new(clock: Clock) -> None:
    said = list[str]()

    Bulletin(said.append).hear(batch(done=2, total=3))

    assert said == ["a: taken in, 3 items, 2 done"]


def test_progress_is_one_line_for_all_now_and_then_and_only_when_it_has_changed(clock: Clock) -> None:
    said = list[str]()
    bulletin = Bulletin(said.append)
    bulletin.hear(batch("a"))
    bulletin.hear(batch("b"))
    said.clear()

    for clock.now in (1.0, 9.0, 11.0, 12.0, 22.0, 33.0):
        bulletin.hear(batch("a", done=10, failed=1, rate=3.0))

    assert said == ["2 batches · 11 of 200 done (5 %) · 3.0/s · about 1 min 03 s left · 1 failed"]


def test_a_name_from_elsewhere_cannot_steer_the_terminal(clock: Clock) -> None:
    said = list[str]()

    Bulletin(said.append).hear(batch(display_name="\x1b]0;owned\x07"))

    assert said[0].isprintable()
