"""Whether a run agrees with the one that is published: its medians lie within the ranges of that."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

from benchmarks.report import Result, first_of, of, ratios, runners_of

_FIGURES: tuple[tuple[str, Callable[[Result], float]], ...] = (
    ("images/s", lambda result: result.rate),
    ("ms CPU per image", lambda result: result.cpu_ms),
    ("peak MB", lambda result: result.peak_mb),
)


def agreement(results: list[Result], published: list[Result]) -> list[str]:
    """Return how many medians lie within the published ranges, and each that doesn't.

    `results` and `published` may be of several jobs; what only one of them has is passed over.
    """
    compared = [
        (f"{job}: {describes}", statistics.median(now), before)
        for job in dict.fromkeys(result.job for result in results)
        for describes, now, before in _pairs(_of_job(results, job), _of_job(published, job))
    ]
    outside = [
        f"  {describes}: {median:.2f}, published {min(before):.2f} to {max(before):.2f}"
        for describes, median, before in compared
        if not min(before) <= median <= max(before)
    ]
    return [f"{len(compared) - len(outside)} of {len(compared)} medians lie within the published ranges", *outside]


def _of_job(results: list[Result], job: str) -> list[Result]:
    return [result for result in results if result.job == job]


def _pairs(now: list[Result], before: list[Result]) -> Iterator[tuple[str, Sequence[float], Sequence[float]]]:
    """Yield each figure of each runner, then the ratios of the mill to the others."""
    runners = [runner for runner in runners_of(now) if of(before, runner)]
    for runner in runners:
        for describes, figure in _FIGURES:
            one, other = ([figure(result) for result in of(results, runner)] for results in (now, before))
            yield f"{runner}, {describes}", one, other
    first = first_of(now)
    for second in runners:
        found, told = ratios(now, first, second), ratios(before, first, second)
        if found and told and second != first:
            yield f"{first} : {second}, images/s", found.rate, told.rate
            yield f"{first} : {second}, CPU", found.cpu, told.cpu
