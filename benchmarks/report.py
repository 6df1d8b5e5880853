"""Figures of runs as tables for people and as lines for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import Usage


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of one runner gave."""

    runner: str
    job: str
    round: int
    photographs: int
    pictures: int
    usage: Usage

    @property
    def rate(self) -> float:
        """Photographs a second, start-up included."""
        return self.photographs / self.usage.wall_s

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per photograph, all processes counted."""
        return 1000 * self.usage.cpu_s / self.photographs

    @property
    def peak_mib(self) -> float:
        return self.usage.peak_pss_bytes / 2**20

    def line(self) -> str:
        return (
            f"  round {self.round}  {self.runner:<12} {self.rate:7.1f} images/s  {self.cpu_ms:6.2f} ms CPU/image"
            f"  {self.peak_mib:6.0f} MiB  {self.pictures} pictures checked"
        )


def append(results: Iterable[Result], path: Path, facts: dict[str, object]) -> None:
    """Add one JSON object a result to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for result in results:
            figures = {"rate": round(result.rate, 2), "cpu_ms": round(result.cpu_ms, 3)}
            file.write(json.dumps({**facts, **asdict(result), **figures}) + "\n")


def table(results: list[Result]) -> str:
    """Return medians and ranges by runner."""
    rows: list[tuple[str, ...]] = [("", "images/s", "ms CPU per image", "peak MiB (PSS)")]
    for runner in _runners(results):
        own = [result for result in results if result.runner == runner]
        rate = _spread([result.rate for result in own], 1)
        cpu = _spread([result.cpu_ms for result in own], 2)
        rows.append((runner, rate, cpu, _spread([result.peak_mib for result in own], 0)))
    return _aligned(rows)


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
        return f"{self.first} : {self.second:<12} rate x {_spread(self.rate, 2)}   CPU x {_spread(self.cpu, 2)}"


def ratios(results: list[Result], first: str) -> list[Ratios]:
    """Return `first` against each other runner."""
    by_key = {(result.runner, result.round): result for result in results}
    rounds = sorted({result.round for result in results})
    found = []
    for second in _runners(results):
        pairs = [(by_key[first, round_], by_key[second, round_]) for round_ in rounds if (first, round_) in by_key]
        if second != first and pairs:
            rate = [ours.rate / theirs.rate for ours, theirs in pairs]
            found.append(Ratios(first, second, rate, [ours.cpu_ms / theirs.cpu_ms for ours, theirs in pairs]))
    return found


def _runners(results: list[Result]) -> list[str]:
    return list(dict.fromkeys(result.runner for result in results))


def _spread(values: list[float], digits: int) -> str:
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
