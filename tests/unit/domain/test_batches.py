"""A batch's counts, its end, and the time that it was worked on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.domain.batches import LONGEST_GAP_S, Batch, BatchState, Counts, RateMeter
from imagemill.domain.items import State
from tests.support.builders import counted, new_batch


def batch_with(state: BatchState, **counts: int) -> Batch:
    batch = new_batch(state=state)
    for name, number in counts.items():
        batch.counts.add(State[name.upper()], number)
    return batch


@given(st.lists(st.sampled_from(State), min_size=1), st.data())
def test_counts_are_what_the_rows_add_up_to_after_any_moves(states: list[State], data: st.DataObject) -> None:
    counts = Counts()
    for state in states:
        counts.add(state)
    for place in data.draw(st.lists(st.integers(0, len(states) - 1))):
        new = data.draw(st.sampled_from(State))
        counts.move(states[place], new)
        states[place] = new

    assert dict(counts) == counted(states)
    assert counts.total == len(states)
    assert counts.final == sum(state.is_final for state in states)
    assert counts.in_flight == sum(state.is_in_flight for state in states)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BatchState.ACTIVE, BatchState.COMPLETED),
        (BatchState.PAUSED, BatchState.COMPLETED),
        (BatchState.CANCELLING, BatchState.CANCELLED),
        (BatchState.RECEIVING, BatchState.RECEIVING),
    ],
)
def test_a_batch_whose_last_item_is_final_ends_unless_more_may_come(before: BatchState, after: BatchState) -> None:
    batch = batch_with(before, succeeded=2, failed=1)

    batch.settle(5.0)

    assert batch.state is after
    assert (batch.finished_at, batch.revision) == ((5.0, 2) if after.is_final else (None, 1))


@pytest.mark.parametrize("left", ["pending", "queued", "processing"])
def test_a_batch_with_an_open_item_goes_on(left: str) -> None:
    batch = batch_with(BatchState.ACTIVE, succeeded=2, **{left: 1})

    batch.settle(5.0)

    assert (batch.state, batch.revision) == (BatchState.ACTIVE, 1)


def test_a_batch_ends_once() -> None:
    batch = batch_with(BatchState.ACTIVE, succeeded=1)

    batch.settle(5.0)
    batch.settle(6.0)

    assert (batch.finished_at, batch.revision) == (5.0, 2)


def test_the_time_worked_leaves_out_what_came_before_the_start_and_long_silences() -> None:
    batch = batch_with(BatchState.ACTIVE)
    batch.touch(100.0)
    assert batch.active_s == 0.0

    batch.started_at = 100.0
    batch.touch(101.5)
    batch.touch(101.5 + 3600)
    # A clock that was set back takes nothing away.
    batch.touch(50.0)

    assert batch.active_s == 1.5 + LONGEST_GAP_S
    assert batch.changed_at == 50.0


def test_the_rate_is_that_of_the_last_seconds() -> None:
    meter = RateMeter(window_s=10.0)
    assert meter.per_second() == 0.0
    meter.record(0.0, 0)
    assert meter.per_second() == 0.0

    meter.record(1.0, 100)
    assert meter.per_second() == 100.0

    for second in range(2, 30):
        meter.record(float(second), 100 + second)
    assert meter.per_second() == pytest.approx(1.0)


def test_two_samples_at_the_same_time_make_no_rate() -> None:
    meter = RateMeter()
    meter.record(1.0, 1)
    meter.record(1.0, 9)

    assert meter.per_second() == 0.0
