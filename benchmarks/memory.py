"""Whether the mill's memory stays flat: its peak with few lines and with many, the pictures being next to nothing.

python -m benchmarks.memory                    1,000 and 100,000 lines; fails beyond 32 MiB of difference
python -m benchmarks.memory --many 1000000
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
from pathlib import Path

from benchmarks.jobs import Output, R, WrongOutput, write_list
from benchmarks.measure import OFTEN_S, Usage, measure
from benchmarks.report import Result, append
from benchmarks.runners import Mill, Run
from benchmarks.server import serving

MOST_GROWTH_MIB = 32.0


def main() -> int:
    choices = _parser().parse_args()
    with serving(choices.folder) as address:
        few, many = (_one(count, address, choices.folder) for count in (choices.few, choices.many))
    append([few, many], choices.folder / "memory.jsonl", {"cores": os.cpu_count()})
    growth = (many.usage.peak_pss_bytes - few.usage.peak_pss_bytes) / 2**20
    held = growth <= MOST_GROWTH_MIB
    print(f"growth {growth:+.1f} MiB, at most {MOST_GROWTH_MIB:.0f}: {'held' if held else 'MISSED'}")
    return 0 if held else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where everything is kept (%(default)s)")
    return parser


def _one(lines: int, address: str, folder: Path) -> Result:
    run = Run(R, lines, folder / f"tiny-{lines}.txt", folder / "runs" / f"tiny-{lines}")
    write_list(address, "tiny", lines, run.urls)
    shutil.rmtree(run.output, ignore_errors=True)
    run.output.parent.mkdir(parents=True, exist_ok=True)
    log = run.output.with_suffix(".log")
    usage = measure(Mill().command(run), log=log, sample_every_s=OFTEN_S)
    output = _check(run, usage, log)
    shutil.rmtree(run.output)
    result = Result("mill", "tiny", 1, lines, output, usage)
    print(f"{lines:>9,} lines{result.line()}  {usage.peak_processes} processes", flush=True)
    return result


def _check(run: Run, usage: Usage, log: Path) -> Output:
    """Count pictures and manifest rows.

    Raises:
        WrongOutput: the run failed, or its counts are not those of the list.
    """
    if usage.exit_code or usage.left_behind:
        raise WrongOutput(f"ended with {usage.exit_code}, {usage.left_behind} processes left behind; see {log}")
    sizes = [path.stat().st_size for path in Mill().pictures(run)]
    with (run.output / "manifest.csv").open(encoding="utf-8", newline="") as manifest:
        rows = sum(1 for _ in csv.DictReader(manifest))
    if (len(sizes), rows) != (run.photographs, run.photographs):
        raise WrongOutput(f"{run.photographs} lines gave {len(sizes)} pictures and {rows} manifest rows")
    return Output(len(sizes), sum(sizes))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WrongOutput as wrong:
        sys.exit(f"benchmarks: {wrong}")
