"""Whether a failed attempt is worth another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError, TransientError
from imagemill.domain.retry import UNFORESEEN, GiveUp, RetryPolicy, TryAgain, decide

POLICY = RetryPolicy()
MIDDLE = 0.5
"""The chance that neither lengthens nor shortens."""


def transient(retry_after: float | None = None) -> TransientError:
    return TransientError(
        FailureCode.SOURCE_SERVER_ERROR, "The server is busy.", http_status=503, retry_after=retry_after
    )


def test_what_may_pass_is_tried_again_with_growing_patience() -> None:
    error = transient()

    decisions = [decide(POLICY, attempt, error, MIDDLE) for attempt in range(POLICY.retries)]

    assert decisions == [TryAgain(delay, error.failure) for delay in (2.0, 3.0, 4.5)]


def test_the_last_attempt_is_given_up_with_its_own_failure() -> None:
    error = transient()

    assert decide(POLICY, POLICY.retries, error, MIDDLE) == GiveUp(error.failure)


@pytest.mark.parametrize("kind", [PermanentError, PipelineError])
def test_what_can_not_pass_is_given_up_at_once(kind: type[PipelineError]) -> None:
    error = kind(FailureCode.SOURCE_NOT_FOUND, "There is no such picture.", http_status=404)

    assert decide(POLICY, 0, error, MIDDLE) == GiveUp(error.failure)


def test_what_nobody_foresaw_is_tried_again_and_none_of_its_text_is_shown() -> None:
    error = RuntimeError("secret")

    assert decide(POLICY, 0, error, MIDDLE) == TryAgain(2.0, UNFORESEEN)
    assert decide(POLICY, POLICY.retries, error, MIDDLE) == GiveUp(UNFORESEEN)
    assert "secret" not in UNFORESEEN.message


@given(st.integers(0, 2), st.floats(0, 1, exclude_max=True))
def test_chance_spreads_the_delay_within_its_share(attempt: int, chance: float) -> None:
    decision = decide(POLICY, attempt, transient(), chance)

    assert isinstance(decision, TryAgain)
    middle = POLICY.delay_s * POLICY.factor**attempt
    assert middle * (1 - POLICY.jitter) <= decision.delay_s <= middle * (1 + POLICY.jitter)


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 3600))
def test_the_other_sides_wish_is_never_undercut(chance: float, retry_after: float) -> None:
    decision = decide(POLICY, 0, transient(retry_after), chance)

    assert isinstance(decision, TryAgain)
    assert decision.delay_s >= retry_after


def test_a_host_that_asks_for_too_much_patience_is_given_up() -> None:
    error = transient(POLICY.longest_s + 1)

    assert decide(POLICY, 0, error, MIDDLE) == GiveUp(error.failure)


def test_without_retries_the_first_failure_is_the_last() -> None:
    assert isinstance(decide(RetryPolicy(retries=0), 0, transient(), MIDDLE), GiveUp)


def test_no_pause_is_longer_than_the_longest() -> None:
    policy = RetryPolicy(retries=9, delay_s=10.0, factor=10.0, longest_s=60.0)

    assert decide(policy, 8, transient(), MIDDLE) == TryAgain(60.0, transient().failure)
    assert decide(policy, 8, transient(retry_after=60.0), MIDDLE) == TryAgain(60.0, transient().failure)
    assert isinstance(decide(policy, 8, transient(retry_after=61.0), MIDDLE), GiveUp)
