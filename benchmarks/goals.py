"""What the mill has set itself against the others: ratios within one run, since the machine itself varies more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.report import Result, median, of, ratios

Figure = Callable[[list[Result]], float | None]


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of one job, and how large or small it is to be."""

    job: str
    describes: str
    figure: Figure
    """None where nobody was measured whom it speaks of."""
    aim: float
    gate: float | None = None
    """Beyond this a run with `--gate` fails."""
    is_least: bool = True

    def holds(self, value: float, bound: float) -> bool:
        return value >= bound if self.is_least else value <= bound

    def line(self, value: float) -> str:
        word = "met" if self.holds(value, self.aim) else "MISSED"
        bound = f"{'at least' if self.is_least else 'at most'} {self.aim:g}"
        owed = "" if self.gate is None or self.gate == self.aim else f" (the gate is {self.gate:g})"
        return f"{self.job}: {self.describes}: {value:.2f}, {bound}{owed}: {word}"


def _rate(first: str, second: str) -> Figure:
    return lambda results: found.median_rate if (found := ratios(results, first, second)) else None


def _cpu(first: str, second: str) -> Figure:
    return lambda results: found.median_cpu if (found := ratios(results, first, second)) else None


def _own(runner: str, figure: Callable[[Result], float | None]) -> Figure:
    return lambda results: median(figure(result) for result in of(results, runner))


def _loss(runner: str) -> Figure:
    return _own(runner, lambda result: result.loss_db)


def _lost_more(first: str, second: str) -> Figure:
    def decibels(results: list[Result]) -> float | None:
        one, other = _loss(first)(results), _loss(second)(results)
        return None if one is None or other is None else one - other

    return decibels


GOALS = (
    Goal("R", "mill : img2dataset, images/s", _rate("mill", "img2dataset"), 3.0, 2.5),
    Goal("R", "mill : img2dataset, CPU", _cpu("mill", "img2dataset"), 0.38, 0.42, is_least=False),
    Goal("R", "mill-services : img2dataset, images/s", _rate("mill-services", "img2dataset"), 2.0),
    Goal("R", "mill-services : img2dataset, CPU", _cpu("mill-services", "img2dataset"), 0.6, 0.65, is_least=False),
    Goal("R", "mill-services, images/s", _own("mill-services", lambda result: result.rate), 250, 250),
    # 31.8 dB were asked for where bicubic gave 32.0. On these pictures the best of the format is below that itself.
    Goal("R", "mill below the best of the format, dB", _loss("mill"), 0.2, 0.3, is_least=False),
    Goal("R", "mill, peak MB", _own("mill", lambda result: result.peak_mb), 400, 400, is_least=False),
    Goal("T", "mill : floor, images/s", _rate("mill", "floor"), 0.9),
    Goal("T", "mill : celery, images/s", _rate("mill", "celery"), 2.3),
    Goal("T", "mill below Pillow's thumbnail(), dB", _lost_more("mill", "plain"), 0.05, is_least=False),
    Goal("L", "mill : floor, images/s", _rate("mill", "floor"), 0.85),
)


def judged(results: list[Result]) -> list[tuple[Goal, float]]:
    """Return each goal that the results of one job speak of, with its figure."""
    jobs = {result.job for result in results}
    figures = ((goal, goal.figure(results)) for goal in GOALS if goal.job in jobs)
    return [(goal, figure) for goal, figure in figures if figure is not None]


def passes(judgements: list[tuple[Goal, float]]) -> bool:
    """Tell whether there was something to judge, and no gate is missed."""
    return bool(judgements) and all(goal.gate is None or goal.holds(value, goal.gate) for goal, value in judgements)
