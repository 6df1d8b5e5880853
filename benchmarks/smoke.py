"""Half a minute's look at whether the mill has become much slower: beside a plain script and the parts by themselves.

Machines and minutes differ, so only ratios within this run count, and only one that is twice as bad as usual fails.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import corpus, report
from benchmarks.contest import Contest
from benchmarks.jobs import R, WrongOutput
from benchmarks.report import Result, ratios
from benchmarks.runners import Floor, Mill, Plain
from benchmarks.server import serving

_GROSS = 2.0


@dataclass(frozen=True, slots=True)
class Usual:
    """How the mill stands to another program with so few pictures, on a machine with nothing else to do."""

    other: str
    rate: float
    cpu: float

    def verdict(self, results: list[Result]) -> tuple[str, bool]:
        """Compare with a run; return a line that tells it, and whether it is well."""
        found = ratios(results, "mill", self.other)
        assert found is not None
        slower, dearer = self.rate / found.median_rate, found.median_cpu / self.cpu
        well = max(slower, dearer) < _GROSS
        line = f"{found.line()}   usual: {self.rate:.2f}, {self.cpu:.2f}: {'well' if well else 'MUCH WORSE'}"
        return line, well


USUAL = (Usual("plain", rate=1.25, cpu=0.7), Usual("floor", rate=0.68, cpu=1.4))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smoke", description=__doc__)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where everything is kept (%(default)s)")
    choices = parser.parse_args()
    corpus.ensure(choices.folder, R.kind)
    results = []
    with serving(choices.folder) as address:
        contest = Contest(R, choices.images, choices.folder, address, [Mill(), Plain(), Floor()])
        try:
            for result in (each for number in range(choices.rounds) for each in contest.round(number + 1)):
                print(result.line(), flush=True)
                results.append(result)
        finally:
            contest.clear()
    print("\n" + report.table(results))
    verdicts = [usual.verdict(results) for usual in USUAL]
    for line, _ in verdicts:
        print(line)
    return 0 if all(well for _, well in verdicts) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WrongOutput as wrong:
        sys.exit(f"benchmarks: {wrong}")
