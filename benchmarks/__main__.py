"""Speed of the mill and of others on the same job: one local server, the same pictures, in alternation.

    python -m benchmarks                              job R, 2,000 images, 3 rounds, the mill and img2dataset
    python -m benchmarks --job T --runners mill,plain
    python -m benchmarks --gate                       fail where the mill is not as fast as it should be

The server runs in a process of its own and is not counted. Every picture made is opened and its size checked.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import corpus, report
from benchmarks.jobs import JOBS, Job, WrongOutput, check, write_list
from benchmarks.measure import measure
from benchmarks.report import Ratios, Result
from benchmarks.runners import RUNNERS, Run, Runner
from benchmarks.server import serving

LEAST_RATE = 2.5
MOST_CPU = 0.42
"""What the mill owes against img2dataset on job R: ratios within one run, since the machine itself varies more."""


def main() -> int:
    choices = _parser().parse_args()
    job: Job = JOBS[choices.job]
    names = choices.runners.split(",") if choices.runners else ["mill", "img2dataset" if job.name == "R" else "plain"]
    runners = [RUNNERS[name]() for name in names]
    for runner in runners:
        if job.name not in runner.jobs:
            raise SystemExit(f"{runner.name} can't do job {job.name}.")
        runner.prepare(choices.folder)
    corpus.ensure(choices.folder)
    print(f"job {job.name}: {job.describes}; {choices.images} images, {choices.rounds} rounds, {os.cpu_count()} cores")
    results = []
    try:
        with serving(choices.folder) as address:
            for result in _alternate(runners, job, choices, address):
                print(result.line(), flush=True)
                results.append(result)
    finally:
        # Not between the runs: ext4 searches past inodes that were deleted seconds ago, so that a run that creates
        # files pays 1 ms a picture for what the one before it deleted.
        shutil.rmtree(choices.folder / "runs", ignore_errors=True)
    return _conclude(results, names[0], choices)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--job", choices=JOBS, default="R")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runners", help=f"some of {','.join(RUNNERS)}; ratios are of the first against the others")
    parser.add_argument("--gate", action="store_true", help="end with 1 where the mill misses a ratio it owes")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where everything is kept (%(default)s)")
    return parser


def _alternate(runners: list[Runner], job: Job, choices: argparse.Namespace, address: str) -> Iterator[Result]:
    urls = choices.folder / "urls.txt"
    write_list(address, "img", choices.images, urls)
    for round_ in range(1, choices.rounds + 1):
        # Each goes first in turn: the one that follows finds the machine warmer.
        turn = round_ % len(runners)
        for runner in runners[turn:] + runners[:turn]:
            output = choices.folder / "runs" / f"{time.time_ns()}-{runner.name}-{round_}"
            yield _one(runner, Run(job, choices.images, urls, output), round_)


def _one(runner: Runner, run: Run, round_: int) -> Result:
    """Run `runner` once and check what it made.

    Raises:
        WrongOutput: the run failed, or did something else than the job.
    """
    run.output.parent.mkdir(parents=True, exist_ok=True)
    os.sync()  # what earlier runs wrote is not to be paid for by this one
    log = run.output.with_suffix(".log")
    usage = measure(runner.command(run), log=log, environment=runner.environment)
    if usage.exit_code or usage.left_behind:
        raise WrongOutput(f"{runner.name} ended with {usage.exit_code}, {usage.left_behind} processes left; see {log}")
    pictures = check(run.job, run.photographs, runner.pictures(run))
    return Result(runner.name, run.job.name, round_, run.photographs, pictures, usage)


def _conclude(results: list[Result], first: str, choices: argparse.Namespace) -> int:
    print("\nmedian (range)\n" + report.table(results))
    compared = report.ratios(results, first)
    for ratios in compared:
        print(ratios.line())
    kept = choices.folder / "results.jsonl"
    facts: dict[str, object] = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cores": os.cpu_count()}
    report.append(results, kept, {**facts, "python": platform.python_version()})
    print(f"added to {kept}")
    return 1 if choices.gate and not _passes(compared) else 0


def _passes(compared: list[Ratios]) -> bool:
    """Tell whether the mill is as fast against img2dataset as it owes to be; without that pair it is not."""
    for ratios in compared:
        if (ratios.first, ratios.second) == ("mill", "img2dataset"):
            fast, cheap = ratios.median_rate >= LEAST_RATE, ratios.median_cpu <= MOST_CPU
            print(f"gate: rate x {LEAST_RATE} or more: {_verdict(fast)}; CPU x {MOST_CPU} or less: {_verdict(cheap)}")
            return fast and cheap
    print("gate: the mill was not measured beside img2dataset")
    return False


def _verdict(held: bool) -> str:
    return "held" if held else "MISSED"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WrongOutput as wrong:
        sys.exit(f"benchmarks: {wrong}")
