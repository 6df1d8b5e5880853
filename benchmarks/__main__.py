"""Speed of the mill and of others on the same jobs: one local server, the same pictures, in alternation.

    python -m benchmarks                                  everything, for docs/explanation/performance.md; 50 minutes
    python -m benchmarks --jobs R --rounds 3 --runners mill,mill-services,img2dataset
    python -m benchmarks --gate                           fail where the mill is not as fast as it owes to be

The server runs in a process of its own and is not counted. Every picture made is opened and its size checked.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from benchmarks import corpus, report
from benchmarks.agreement import agreement
from benchmarks.contest import RUNNERS, Contest, prepared
from benchmarks.goals import judged, passes
from benchmarks.jobs import JOBS, Job, WrongOutput
from benchmarks.machine import facts
from benchmarks.publish import RUNS, publish_contest
from benchmarks.report import Result
from benchmarks.runners import Runner
from benchmarks.server import serving

_ROUNDS = 5


def main() -> int:
    choices = _parser().parse_args()
    published = report.load(RUNS) if RUNS.exists() and not choices.images else []
    for kind in {JOBS[name].kind for name in choices.jobs}:
        corpus.ensure(choices.folder, kind)
    runners = prepared(choices.runners, choices.folder)
    here = facts()  # with the servers that preparing has installed
    left_out = set(choices.runners) - {runner.name for runner in runners}
    results: list[Result] = []
    with serving(choices.folder) as address, ExitStack() as stack:
        contests = []
        for job in (JOBS[name] for name in choices.jobs):
            contests.append(Contest(job, choices.images or job.images, choices.folder, address, runners))
            stack.callback(contests[-1].clear)
        # Every job in each round: so the rounds of each see all the speeds that the machine has meanwhile.
        for number in range(1, choices.rounds + 1):
            for contest in contests:
                results += _round(contest, number, choices.folder)
    for name in choices.jobs:
        # A job may be beyond everybody who was chosen.
        if own := [result for result in results if result.job == name]:
            _tell(JOBS[name], own, runners[0])
    print(f"\nadded to {choices.folder / 'results.jsonl'}")
    held = _judge(results)
    if published:
        print("\n".join(agreement(results, published)))
    if _is_whole(choices):
        publish_contest(results, here, left_out.union(*(contest.left_out for contest in contests)))
    return 0 if held or not choices.gate else 1


def _is_whole(choices: argparse.Namespace) -> bool:
    """Tell whether nothing was left out, so that the figures may stand in the documentation."""
    everything = set(choices.jobs) == set(JOBS) and set(choices.runners) == set(RUNNERS)
    return everything and not choices.images and choices.rounds >= _ROUNDS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", "--job", type=_names(JOBS), default=list(JOBS), help=f"some of {','.join(JOBS)}")
    parser.add_argument("--images", type=int, help="how many a run (enough for each job)")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    runners = f"some of {','.join(RUNNERS)}; ratios are of the first against the others"
    parser.add_argument("--runners", type=_names(RUNNERS), default=list(RUNNERS), help=runners)
    parser.add_argument("--gate", action="store_true", help="end with 1 where the mill misses a ratio it owes")
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where everything is kept (%(default)s)")
    return parser


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        found = text.split(",")
        if unknown := [name for name in found if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {','.join(known)}")
        return found

    return names


def _round(contest: Contest, number: int, folder: Path) -> list[Result]:
    print(f"\nround {number}, job {contest.job.name}", flush=True)
    results = []
    for result in contest.round(number):
        print(result.line(), flush=True)
        report.append([result], folder / "results.jsonl", asdict(facts()))
        results.append(result)
    return results


def _tell(job: Job, results: list[Result], first: Runner) -> None:
    print(f"\njob {job.name}: {job.describes}; {results[0].photographs} images\n\nmedian (range)")
    print(report.table(results))
    for ratios in report.against_others(results, first.name):
        print(ratios.line())


def _judge(results: list[Result]) -> bool:
    judgements = [found for name in JOBS for found in judged([result for result in results if result.job == name])]
    for goal, values in judgements:
        print(goal.line(values))
    return passes(judgements)


if __name__ == "__main__":
    # Told to end, it ends what it has started, as it does when it is interrupted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main())
    except WrongOutput as wrong:
        sys.exit(f"benchmarks: {wrong}")
