"""Whether a failed attempt is worth another, and when: a decision, not a loop."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill.domain.failures import Failure, FailureCode, PipelineError, TransientError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently an item is tried again through the queue."""

    retries: int = 3
    """Attempts after the first."""
    delay_s: float = 2.0
    """The first delay, in seconds; attempt n waits `delay_s * factor**n`."""
    factor: float = 1.5
    jitter: float = 0.25
    """The share of the delay that chance may add or take, so that a host's failures don't return in step."""
    longest_s: float = 3600.0
    """The longest pause, in seconds; a host that asks for more (`Retry-After`) is a failure."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Put the item back, due in `delay_s` seconds."""

    delay_s: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The item has failed for good."""

    failure: Failure


UNFORESEEN = Failure(FailureCode.INTERNAL, "An unforeseen error of the mill's own; its log has the details.")


def decide(policy: RetryPolicy, attempt: int, error: BaseException, chance: float) -> TryAgain | GiveUp:
    """Decide what follows the failure of `attempt` (counted from 0).

    `chance`, in [0, 1), is the caller's random number. Errors that nobody foresaw are tried again like
    transient ones: they may be ours, and they end after the same number of attempts.
    """
    if isinstance(error, PipelineError):
        failure = error.failure
        if not isinstance(error, TransientError):
            return GiveUp(failure)
        retry_after = error.retry_after or 0.0
    else:
        failure, retry_after = UNFORESEEN, 0.0
    if attempt >= policy.retries or retry_after > policy.longest_s:
        return GiveUp(failure)
    spread = 1.0 + policy.jitter * (2.0 * chance - 1.0)
    delay = min(policy.delay_s * policy.factor**attempt * spread, policy.longest_s)
    # The other side's wish is a floor: chance may lengthen it, never shorten it.
    return TryAgain(max(delay, retry_after), failure)
