"""`python -m tests.faults.table` writes the tables of docs/reference/guarantees.md anew from the committed records."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.journal import RESULTS, Record, read

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "guarantees.md"
BEGIN, END = "<!-- computed by make faults-table -->", "<!-- until here -->"
_DEAD = {
    "gateway": "gateways",
    "downloader": "downloaders",
    "processor": "processors",
    "storage": "storage services",
    "rabbitmq": "RabbitMQ",
    "postgresql": "PostgreSQL",
}
_FOUND = {
    "lost": ("lost",),
    "counted twice": ("double_counted",),
    "ended otherwise": ("wrong_end", "wrong_twins"),
    "ended twice": ("contradictions",),
    "end not told": ("unseen_ends",),
    "blobs missing or broken": ("missing_blobs", "broken_pictures"),
    "orphans": ("orphan_blobs", "scratch_files", "orphan_processes"),
    "asked for again": ("repeats",),
}
"""The figures of a verdict that are added up in a column."""


def main() -> int:
    """Write the document anew."""
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(with_tables(text, records()), encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT} is written from {len(records())} runs.\n")
    return 0


def records() -> list[Record]:
    """The committed records, by seed."""
    return sorted((read(path) for path in RESULTS.glob("*.jsonl")), key=lambda record: record.run["seed"])


def with_tables(text: str, runs: Sequence[Record]) -> str:
    """A document with its computed part made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{computed(runs)}\n{END}{after}"


def computed(runs: Sequence[Record]) -> str:
    """The tables of these runs."""
    if not runs:
        return "No run is recorded.\n"
    deaths = [
        [_seed(run), _items(run), *(str(_of(run, target)) for target in _DEAD), str(_at_points(run)), _length(run)]
        for run in runs
    ]
    ends = [
        [
            _seed(run),
            f"{run.verdict['succeeded']:,} / {run.verdict['failed']:,}",
            *(str(sum(run.verdict[name] for name in names)) for names in _FOUND.values()),
        ]
        for run in runs
    ]
    return "\n".join(
        (
            "Killed in each run:\n",
            _table(["seed", "items", *_DEAD.values(), "of these at a strike point", "minutes"], deaths),
            "What came of it:\n",
            _table(["seed", "succeeded / failed", *_FOUND], ends),
            *(f"{line}\n" for line in (_others(runs), _surroundings(runs)) if line),
        )
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---:"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _seed(run: Record) -> str:
    return str(run.run["seed"])


def _items(run: Record) -> str:
    return f"{run.run['items']:,}"


def _of(run: Record, target: str) -> int:
    return sum(kill["target"] == target for kill in run.kills)


def _at_points(run: Record) -> int:
    return sum(bool(kill.get("point")) for kill in run.kills)


def _length(run: Record) -> str:
    return f"{run.verdict['t'] / 60:.1f}"


def _others(runs: Sequence[Record]) -> str:
    """The faults beside deaths, added up over all runs."""
    found = Counter(f"{fault['target']} {fault['what']}" for run in runs for fault in run.others)
    listed = ", ".join(f"{what} (in all {number})" for what, number in sorted(found.items()))
    return f"Other faults, of all runs: {listed}." if found else ""


def _surroundings(runs: Sequence[Record]) -> str:
    """Where the runs were made."""
    told = {
        f"Imagemill {about['imagemill']}, Python {about['python']}, RabbitMQ {about['rabbitmq']}, "
        f"PostgreSQL {about['postgresql'].split()[0]}, {about['system']}, {about['cores']} cores, "
        f"{about['memory_gib']} GiB."
        for about in (run.run for run in runs)
    }
    return "\n".join(sorted(told))


if __name__ == "__main__":
    sys.exit(main())
