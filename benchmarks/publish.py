"""Figures into the documentation: tables and plots between the marks of `docs/explanation/performance.md`."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from benchmarks.goals import judged
from benchmarks.growth import FLAT_FROM, LABELS, SHOWN_ONLY, Growth
from benchmarks.growth import judged as judged_growth
from benchmarks.jobs import JOBS
from benchmarks.machine import Facts
from benchmarks.report import Result, against_others, append, first_of, of, rows, runners_of

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "performance.md"
RUNS = PAGE.with_name("performance-runs.jsonl")
"""Each run that the page's tables were made of."""
_OURS, _THEIRS, _FLOOR = "#1f6feb", "#9aa4b2", "#57606a"

# Text stays text, and the same figures give the same file.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "imagemill", "font.size": 9})


def publish_contest(results: list[Result], facts: Facts, left_out: Iterable[str] = (), page: Path = PAGE) -> None:
    """Write what a contest has shown, job by job, and keep its runs beside the page."""
    parts = [_machine(facts)]
    parts += [f"{name} could not be had on this machine and is left out." for name in sorted(left_out)]
    for name in dict.fromkeys(result.job for result in results):
        own = [result for result in results if result.job == name]
        rounds = len({result.round for result in own})
        plot = f"performance-{name}.svg"
        _bars(own, page.with_name(plot))
        parts.append(
            f"### Job {name}\n\n{JOBS[name].describes}; {own[0].photographs:,} pictures, median and range of {rounds} "
            f"rounds.\n\n![Images a second and CPU per image of each program]({plot})\n\n" + markdown(rows(own))
        )
        parts.append("\n".join(f"- {line.line()}" for line in against_others(own, first_of(own))))
        parts.append("\n".join(f"- {goal.line(values)}" for goal, values in judged(own)))
    write_block("contest", "\n\n".join(part for part in parts if part), page)
    runs = page.with_name(RUNS.name)
    runs.unlink(missing_ok=True)
    append(results, runs, asdict(facts))


def publish_growth(measured: list[Growth], facts: Facts, page: Path = PAGE) -> None:
    """Write how cost grows with the batch."""
    alone = [growth for growth in measured if growth.batches == 1]
    counts = [growth.items for growth in alone]
    plot = page.with_name("performance-growth.svg")
    shown = [(name, label) for name, label in LABELS.items() if name not in SHOWN_ONLY]
    _lines(counts, [(label, [getattr(growth, name) for growth in alone]) for name, label in shown], plot)
    head = ("", *(_column(growth) for growth in measured))
    whole = ("intake as a whole, s", *(f"{growth.intake_s:.1f}" for growth in measured))
    figures = [(label, *(f"{getattr(growth, name):.3g}" for growth in measured)) for name, label in LABELS.items()]
    image = f"![Each figure relative to that of {FLAT_FROM:,} items]({plot.name})"
    goals = "\n".join(f"- {line}" for line in judged_growth(measured))
    write_block("growth", "\n\n".join([_machine(facts), image, markdown([head, whole, *figures]), goals]), page)


def publish_startup(cells: Sequence[Sequence[str]], facts: Facts, page: Path = PAGE) -> None:
    """Write how soon the command is there."""
    write_block("startup", "\n\n".join([_machine(facts), markdown(cells)]), page)


def _column(growth: Growth) -> str:
    return f"{growth.items:,} items" + (f" in {growth.batches} batches" if growth.batches > 1 else "")


def write_block(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between the marks of `name` in the page."""
    start, end = f"<!-- {name}: written by make bench -->", f"<!-- end of {name} -->"
    before = page.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(before):
        raise SystemExit(f"{page} has no place for {name!r}: {start}")
    page.write_text(pattern.sub(lambda _: f"{start}\n\n{text}\n\n{end}", before), encoding="utf-8")
    print(f"written to {page}")


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """Return a table whose first row is its heading."""
    head, *body = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([head, "|---" * len(cells[0]) + "|", *body])


def _lines(counts: Sequence[int], series: Iterable[tuple[str, Sequence[float]]], path: Path) -> None:
    """Draw figures over numbers of items, each relative to that of `FLAT_FROM` items, or else of the first."""
    base = counts.index(FLAT_FROM) if FLAT_FROM in counts else 0
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    for label, values in series:
        axes.plot(counts, [value / values[base] for value in values], marker="o", label=label)
    axes.set(xscale="log", xlabel="items in the batch", ylabel=f"relative to {counts[base]:,} items", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def _machine(facts: Facts) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return (
        f"Measured at {facts.at} on {facts.cores} cores of {facts.processor}, {facts.memory_gb} GB, {facts.system}, "
        f"Python {facts.python}; {versions}."
    )


def _bars(results: list[Result], path: Path) -> None:
    runners = runners_of(results)[::-1]
    panels: tuple[tuple[str, Callable[[Result], float]], ...] = (
        ("images/s", lambda result: result.rate),
        ("ms CPU per image", lambda result: result.cpu_ms),
    )
    figure = Figure(figsize=(7.5, 0.6 + 0.3 * len(runners)), layout="constrained")
    for axes, (title, value) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
        for row, runner in enumerate(runners):
            values = sorted(value(result) for result in of(results, runner))
            middle = statistics.median(values)
            colour = _OURS if runner.startswith("mill") else _FLOOR if runner == "floor" else _THEIRS
            axes.barh(row, middle, color=colour, xerr=[[middle - values[0]], [values[-1] - middle]])
        axes.set(title=title, yticks=range(len(runners)), yticklabels=runners)
        axes.spines["top"].set_visible(False)
        axes.spines["right"].set_visible(False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
