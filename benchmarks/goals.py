"""What the mill has set itself against the others: ratios within one run, since the machine itself varies more."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.report import Result, of, ratios

Figure = Callable[[list[Result]], Sequence[float]]
"""One value a round; none where nobody was measured whom it speaks of."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of one job, and how large or small its median is to be."""

    job: str
    describes: str
    figure: Figure
    aim: float
    gate: float | None = None
    """Beyond this a run with `--gate` fails."""
    is_least: bool = True

    def holds(self, value: float, bound: float) -> bool:
        return value >= bound if self.is_least else value <= bound

    def passes(self, values: Sequence[float]) -> bool:
        """Tell whether the gate is kept, where there is one."""
        return self.gate is None or self.holds(statistics.median(values), self.gate)

    def line(self, values: Sequence[float]) -> str:
        middle = statistics.median(values)
        word = "met" if self.holds(middle, self.aim) else "MISSED"
        bound = f"{'at least' if self.is_least else 'at most'} {self.aim:g}"
        owed = "" if self.gate is None or self.gate == self.aim else f" (the gate is {self.gate:g})"
        found = f"{middle:.2f}"
        if len(values) > 1:
            found += f" ({min(values):.2f}-{max(values):.2f})"
            word += f", kept by {sum(self.holds(value, self.aim) for value in values)} of {len(values)} rounds"
        return f"{self.job}: {self.describes}: {found}, {bound}{owed}: {word}"


def _rate(first: str, second: str) -> Figure:
    return lambda results: found.rate if (found := ratios(results, first, second)) else ()


def _cpu(first: str, second: str) -> Figure:
    return lambda results: found.cpu if (found := ratios(results, first, second)) else ()


def _own(runner: str, figure: Callable[[Result], float | None]) -> Figure:
    def values(results: list[Result]) -> Sequence[float]:
        return [value for result in of(results, runner) if (value := figure(result)) is not None]

    return values


def _loss(runner: str) -> Figure:
    return _own(runner, lambda result: result.loss_db)


def _lost_more(first: str, second: str) -> Figure:
    def decibels(results: list[Result]) -> Sequence[float]:
        both = zip(_loss(first)(results), _loss(second)(results), strict=False)
        return [one - other for one, other in both]

    return decibels


GOALS = (
    Goal("R", "mill : img2dataset, images/s", _rate("mill", "img2dataset"), 3.0, 2.5),
    Goal("R", "mill : img2dataset, CPU", _cpu("mill", "img2dataset"), 0.38, 0.42, is_least=False),
    Goal("R", "mill-services : img2dataset, images/s", _rate("mill-services", "img2dataset"), 2.0),
    Goal("R", "mill-services : img2dataset, CPU", _cpu("mill-services", "img2dataset"), 0.6, 0.65, is_least=False),
    Goal("R", "mill-services, images/s", _own("mill-services", lambda result: result.rate), 250, 250),
    Goal("R", "mill-originals, ms CPU", _own("mill-originals", lambda result: result.cpu_ms), 7, is_least=False),
    Goal("R", "mill, dB", _own("mill", lambda result: result.psnr), 31.8),
    Goal("R", "mill below Lanczos from a full decode, encoded alike, dB", _loss("mill"), 0.2, 0.3, is_least=False),
    Goal("R", "mill, peak MB", _own("mill", lambda result: result.peak_mb), 400, 400, is_least=False),
    Goal("T", "mill : floor, images/s", _rate("mill", "floor"), 0.9),
    Goal("T", "mill : floor, CPU", _cpu("mill", "floor"), 1.1, is_least=False),
    Goal("T", "mill : celery, images/s", _rate("mill", "celery"), 2.3),
    Goal("T", "mill below Pillow's thumbnail(), dB", _lost_more("mill", "plain"), 0.05, is_least=False),
    Goal("L", "mill : floor, images/s", _rate("mill", "floor"), 0.85),
    Goal("L", "mill : floor, CPU", _cpu("mill", "floor"), 1.15, is_least=False),
)


def judged(results: list[Result]) -> list[tuple[Goal, Sequence[float]]]:
    """Return each goal that the results of one job speak of, with its figure round by round."""
    jobs = {result.job for result in results}
    figures = ((goal, goal.figure(results)) for goal in GOALS if goal.job in jobs)
    return [(goal, values) for goal, values in figures if values]


def passes(judgements: list[tuple[Goal, Sequence[float]]]) -> bool:
    """Tell whether there was something to judge, and no gate is missed."""
    return bool(judgements) and all(goal.passes(values) for goal, values in judgements)
