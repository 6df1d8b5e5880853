"""What an event does to a row, and what a group of events comes down to."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.domain.failures import FailureCode
from imagemill.domain.items import (
    MAX_CLAIMS,
    Facts,
    Head,
    ItemEvent,
    State,
    advance,
    facts_after,
    is_sign_of_life,
    reduce_events,
)
from tests.support.builders import BROKEN, event, original, success

FLIGHT = [State.QUEUED, State.DOWNLOADING, State.DOWNLOADED, State.PROCESSING]
FINAL = [State.SUCCEEDED, State.FAILED, State.SKIPPED, State.CANCELLED]
MOVING = [State.DOWNLOADING, State.DOWNLOADED, State.PROCESSING, State.SUCCEEDED, State.FAILED, State.PENDING]

heads = st.builds(Head, st.sampled_from(State), st.integers(0, 3), st.integers(0, MAX_CLAIMS + 1))
events = st.builds(
    ItemEvent, st.just("b"), st.just(0), st.integers(0, 3), st.sampled_from(MOVING), outside_budget=st.booleans()
)


def lost(attempt: int = 0) -> ItemEvent:
    """The original is gone: the item is to be downloaded again, outside its budget of retries."""
    return ItemEvent("b", 0, attempt, State.PENDING, outside_budget=True)


@pytest.mark.parametrize(("earlier", "later"), list(itertools.combinations(FLIGHT + FINAL[:2], 2)))
def test_any_forward_skip_within_an_attempt_is_legal_and_nothing_moves_back(earlier: State, later: State) -> None:
    if not earlier.is_final:
        assert advance(Head(earlier, 1, 2), event(0, later, 1)) == Head(later, 1, 2)
    assert advance(Head(later, 1, 2), event(0, earlier, 1)) is None


@pytest.mark.parametrize("state", FINAL)
@pytest.mark.parametrize("later", MOVING)
def test_a_final_row_never_reopens_not_even_in_a_newer_attempt(state: State, later: State) -> None:
    assert advance(Head(state, 1), event(0, later, 2)) is None


@pytest.mark.parametrize("state", FLIGHT)
def test_a_retry_puts_the_row_back_into_the_next_attempt_with_its_claims_forgotten(state: State) -> None:
    assert advance(Head(state, 1, 7), event(0, State.PENDING, 1)) == Head(State.PENDING, 2, 0)


def test_a_retry_seen_twice_counts_once() -> None:
    once = advance(Head(State.PROCESSING, 1, 7), event(0, State.PENDING, 1))
    assert once is not None

    assert advance(once, event(0, State.PENDING, 1)) is None


@pytest.mark.parametrize("state", MOVING)
def test_events_of_an_older_attempt_are_ignored(state: State) -> None:
    assert advance(Head(State.QUEUED, 2, 1), event(0, state, 1)) is None


def test_a_lost_original_costs_no_attempt_but_counts_its_claims() -> None:
    assert advance(Head(State.PROCESSING, 1, 3), lost(1)) == Head(State.PENDING, 1, 3)


def test_a_lost_original_reported_twice_moves_nothing_the_second_time() -> None:
    assert advance(Head(State.PENDING, 1, 3), lost(1)) is None


def test_an_original_lost_too_often_is_a_failure_that_says_so() -> None:
    head = advance(Head(State.PROCESSING, 1, MAX_CLAIMS), lost(1))

    assert head == Head(State.FAILED, 1, MAX_CLAIMS)
    failure = facts_after(head, lost(1)).failure
    assert failure is not None
    assert failure.code is FailureCode.INTERNAL


@pytest.mark.parametrize("state", FLIGHT)
def test_a_late_advisory_event_does_not_take_a_row_that_waits_for_its_next_claim_off_the_waiting_ones(
    state: State,
) -> None:
    # Such a row is on no queue. In flight it would keep the lease of its last claim, which is prolonged for ever.
    assert advance(Head(State.PENDING, 1, 3), event(0, state, 1)) is None


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
def test_an_outcome_settles_even_a_row_that_waits_for_its_next_claim(state: State) -> None:
    assert advance(Head(State.PENDING, 1, 3), event(0, state, 1)) == Head(state, 1, 3)


def test_facts_are_those_of_the_event_that_wins() -> None:
    assert facts_after(Head(State.SUCCEEDED, 0), event(0, State.SUCCEEDED)) == success(0)


@given(heads, events)
def test_a_row_only_moves_forward_or_into_its_next_attempt(head: Head, happened: ItemEvent) -> None:
    moved = advance(head, happened)

    if moved is None:
        return
    assert not head.state.is_final
    assert moved.attempt >= head.attempt
    if moved.attempt == head.attempt and moved.state <= head.state:
        assert happened.outside_budget


@given(heads, events)
def test_an_event_seen_twice_moves_nothing_the_second_time(head: Head, happened: ItemEvent) -> None:
    moved = advance(head, happened)

    assert moved is None or advance(moved, happened) is None


def test_a_group_comes_down_to_the_furthest_event_of_the_newest_attempt() -> None:
    group = [event(0, State.SUCCEEDED, 0), event(0, State.DOWNLOADING, 1), event(1, State.PROCESSING)]

    assert reduce_events(group) == {("b", 0): group[1], ("b", 1): group[2]}


def test_in_a_group_an_outcome_outranks_the_wish_for_another_attempt_and_success_a_failure() -> None:
    retry, failed, succeeded = (event(0, state) for state in (State.PENDING, State.FAILED, State.SUCCEEDED))

    for group in itertools.permutations([retry, failed, succeeded]):
        assert reduce_events(group) == {("b", 0): succeeded}
    assert reduce_events([retry, failed]) == {("b", 0): failed}


def test_the_same_index_of_another_batch_is_another_item() -> None:
    group = [event(0, State.FAILED), event(0, State.SUCCEEDED, batch_id="other")]

    assert reduce_events(group) == {("b", 0): group[0], ("other", 0): group[1]}


@given(st.lists(events), st.randoms(use_true_random=False))
def test_reducing_is_blind_to_order_and_repetition_of_states(group: list[ItemEvent], chance: random.Random) -> None:
    shuffled = group * 2
    chance.shuffle(shuffled)

    def place(found: dict[tuple[str, int], ItemEvent]) -> list[tuple[int, State]]:
        return [(each.attempt, each.state) for each in found.values()]

    assert place(reduce_events(group)) == place(reduce_events(shuffled))


# The life of one item as it truly was: in each attempt one run of a worker, ended by a wish for another attempt or
# by an outcome. What a store is told of it comes late, twice, out of order, or (advisory events) never.


@st.composite
def lives(draw: st.DrawFn) -> list[ItemEvent]:
    last = draw(st.integers(0, 3))
    outcome = draw(st.sampled_from([State.SUCCEEDED, State.FAILED]))
    told: list[ItemEvent] = []
    for attempt in range(last + 1):
        advisory = draw(st.lists(st.sampled_from(FLIGHT[1:]), unique=True))
        told += [event(0, state, attempt) for state in sorted(advisory)]
        told.append(event(0, outcome if attempt == last else State.PENDING, attempt))
    return told


def fold_singly(told: list[ItemEvent]) -> Head:
    head = Head(State.QUEUED, 0, 1)
    for happened in told:
        head = advance(head, happened) or head
    return head


def fold_in_groups(told: list[ItemEvent], sizes: list[int]) -> Head:
    head, left, numbers = Head(State.QUEUED, 0, 1), list(told), itertools.cycle(sizes)
    while left:
        size = next(numbers)
        head = advance(head, *reduce_events(left[:size]).values()) or head
        left = left[size:]
    return head


@given(lives(), st.randoms(use_true_random=False), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_whatever_the_order_repetitions_and_groups_the_row_ends_where_the_item_did(
    life: list[ItemEvent], chance: random.Random, sizes: list[int]
) -> None:
    told = life + chance.choices(life, k=len(life))
    chance.shuffle(told)
    true_end = (life[-1].state, life[-1].attempt)

    single, grouped = fold_singly(told), fold_in_groups(told, sizes)

    assert (single.state, single.attempt) == true_end
    assert (grouped.state, grouped.attempt) == true_end


def test_facts_compare_as_a_whole() -> None:
    assert Facts(BROKEN) != Facts(BROKEN, original())


def test_an_event_that_repeats_the_state_of_an_item_in_flight_is_a_sign_of_life() -> None:
    repeated = ItemEvent("b", 0, 1, State.DOWNLOADING)

    assert is_sign_of_life(Head(State.DOWNLOADING, 1), repeated)
    assert not is_sign_of_life(Head(State.DOWNLOADING, 2), repeated)
    assert not is_sign_of_life(Head(State.QUEUED, 1), repeated)
    assert not is_sign_of_life(Head(State.SUCCEEDED, 1), ItemEvent("b", 0, 1, State.SUCCEEDED))


def test_an_event_of_a_state_that_an_item_in_flight_has_passed_is_a_sign_of_life() -> None:
    # An original was lost after rendering had begun: it is downloaded again, and the row stays where it was.
    assert is_sign_of_life(Head(State.PROCESSING, 1), ItemEvent("b", 0, 1, State.DOWNLOADING))
    assert not is_sign_of_life(Head(State.PROCESSING, 1), ItemEvent("b", 0, 1, State.PENDING))
