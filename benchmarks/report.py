"""Figures of runs as tables for people and as lines for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.jobs import Output
from benchmarks.measure import Usage


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of one runner gave."""

    runner: str
    job: str
    round: int
    photographs: int
    output: Output
    usage: Usage
    psnr: float | None = None
    """In decibels, where the pictures were compared with a full decode resampled by Lanczos."""
    best_psnr: float | None = None
    """That of a full decode with Lanczos, encoded in the same formats with the mill's settings."""

    @property
    def rate(self) -> float:
        """Photographs a second, start-up included."""
        return self.photographs / self.usage.wall_s

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per photograph, all processes counted."""
        return 1000 * self.usage.cpu_s / self.photographs

    @property
    def output_kb(self) -> float:
        """What was made of one photograph, in kilobytes."""
        return self.output.size_bytes / 1e3 / self.photographs

    @property
    def pictures(self) -> int:
        """How many pictures were made of one photograph."""
        return self.output.pictures // self.photographs

    @property
    def loss_db(self) -> float | None:
        """How far its pictures stay below that, in decibels."""
        return None if self.psnr is None or self.best_psnr is None else self.best_psnr - self.psnr

    @property
    def peak_mb(self) -> float:
        return self.usage.peak_pss_bytes / 1e6

    def line(self) -> str:
        parts = [
            f"  round {self.round}  {self.runner:<14} {self.rate:7.1f} images/s  {self.cpu_ms:6.2f} ms CPU/image",
            f"{self.peak_mb:5.0f} MB  {self.output.pictures} pictures checked",
        ]
        if self.psnr is not None:
            parts.append(f"{self.psnr:.1f} dB")
        if self.usage.standing_cpu_s:
            shares = ((name, 1000 * taken / self.photographs) for name, taken in self.usage.standing_cpu_s.items())
            parts.append("of it " + ", ".join(f"{name} {share:.2f}" for name, share in shares))
            parts.append(f"their start apart: {self.usage.start_cpu_s:.1f} s CPU")
        return "  ".join(parts)


def append(results: Iterable[Result], path: Path, facts: dict[str, object]) -> None:
    """Add one JSON object a result to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for result in results:
            figures = {"rate": round(result.rate, 2), "cpu_ms": round(result.cpu_ms, 3)}
            file.write(json.dumps({**facts, **asdict(result), **figures}) + "\n")


def load(path: Path) -> list[Result]:
    """Read what `append` wrote."""
    results = []
    for line in path.read_text(encoding="utf-8").splitlines():
        kept = json.loads(line)
        known = {field.name: kept[field.name] for field in fields(Result)}
        results.append(Result(**{**known, "output": Output(**kept["output"]), "usage": Usage(**kept["usage"])}))
    return results


def rows(results: list[Result]) -> list[tuple[str, ...]]:
    """Return medians and ranges by runner, below a row of headings."""
    found: list[tuple[str, ...]] = [
        ("", "images/s", "ms CPU per image", "peak MB (PSS)", "pictures of each", "KB", "PSNR, dB", "below Lanczos, dB")
    ]
    for runner in runners_of(results):
        own = of(results, runner)
        quality, loss = median(result.psnr for result in own), median(result.loss_db for result in own)
        found.append(
            (
                runner,
                spread([result.rate for result in own], 1),
                spread([result.cpu_ms for result in own], 2),
                spread([result.peak_mb for result in own], 0),
                str(own[0].pictures),
                f"{median(result.output_kb for result in own):.1f}",
                "" if quality is None else f"{quality:.1f}",
                "" if loss is None else f"{loss:.2f}",
            )
        )
    return found


def table(results: list[Result]) -> str:
    """Return the rows for a terminal."""
    cells = rows(results)
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


@dataclass(frozen=True, slots=True)
class Ratios:
    """One runner against another, round by round: both ran within the same minutes on the same machine."""

    first: str
    second: str
    rate: list[float]
    cpu: list[float]

    @property
    def median_rate(self) -> float:
        return statistics.median(self.rate)

    @property
    def median_cpu(self) -> float:
        return statistics.median(self.cpu)

    def line(self) -> str:
        return f"{self.first} : {self.second:<14} rate x {spread(self.rate, 2)}   CPU x {spread(self.cpu, 2)}"


def ratios(results: list[Result], first: str, second: str) -> Ratios | None:
    """Return `first` against `second`; None when no round has both."""
    by_key = {(result.runner, result.round): result for result in results}
    rounds = sorted({result.round for result in results})
    pairs = [(by_key.get((first, round_)), by_key.get((second, round_))) for round_ in rounds]
    both = [(ours, theirs) for ours, theirs in pairs if ours and theirs]
    if not both:
        return None
    rate = [ours.rate / theirs.rate for ours, theirs in both]
    return Ratios(first, second, rate, [ours.cpu_ms / theirs.cpu_ms for ours, theirs in both])


def against_others(results: list[Result], first: str) -> list[Ratios]:
    """Return `first` against each other runner that makes as many pictures."""
    made = {result.runner: result.pictures for result in results}
    others = (second for second in runners_of(results) if second != first and made[second] == made[first])
    return [found for second in others if (found := ratios(results, first, second))]


def of(results: list[Result], runner: str) -> list[Result]:
    """Return the results of one runner."""
    return [result for result in results if result.runner == runner]


def runners_of(results: list[Result]) -> list[str]:
    """Return who was measured."""
    return list(dict.fromkeys(result.runner for result in results))


def first_of(results: list[Result]) -> str:
    """Return whom the others are compared with: the mill where it was measured."""
    runners = runners_of(results)
    return "mill" if "mill" in runners else runners[0]


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of those that are there; None when none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def spread(values: list[float], digits: int) -> str:
    """Return a median with its range."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
