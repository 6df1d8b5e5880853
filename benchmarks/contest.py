"""Runs in alternation: whoever is measured, on one job, round after round."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import corpus
from benchmarks.environments import NotInstallable
from benchmarks.jobs import Job, WrongOutput, check, write_list
from benchmarks.measure import measure
from benchmarks.peers import CeleryOnRedis, Img2dataset, Scrapy
from benchmarks.quality import best_psnr, psnr
from benchmarks.report import Result
from benchmarks.runners import Floor, Mill, Plain, Run, Runner
from benchmarks.services import MillServices

RUNNERS: dict[str, Callable[[], Runner]] = {
    kind.name: kind for kind in (Mill, MillServices, Img2dataset, Scrapy, CeleryOnRedis, Plain, Floor)
}


_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30
"""Bytes that must be free there: more than all rounds of a job write."""


def runs_folder(folder: Path) -> Path:
    """Make a folder for what the runs of one job write: in memory where there is room, else below `folder`.

    A disk's file system keeps one run's deletions for the next one: ext4 passes over every inode that was freed in the
    last minutes when it looks for a new one, which was seen to cost 0.4 ms a picture.
    """
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM:
        return Path(tempfile.mkdtemp(prefix="benchmarks-", dir=_MEMORY))
    runs = folder / "runs"
    runs.mkdir(exist_ok=True)
    return runs


@dataclass(frozen=True, slots=True)
class Contest:
    """What is run, and where its files lie."""

    job: Job
    images: int
    rounds: int
    folder: Path
    """Of what is kept: originals, lists, the programs' environments."""
    runs: Path
    """Of what the runs write."""
    address: str
    """Of the picture server."""

    def results(self, runners: list[Runner]) -> Iterator[Result]:
        """Run each of `runners` once a round; each goes first in turn, for the next one finds the machine warmer."""
        urls = self.folder / f"urls-{self.job.kind}.txt"
        write_list(self.address, self.job.kind, self.images, urls)
        left = [runner for runner in runners if self.job.name in runner.jobs]
        for round_ in range(1, self.rounds + 1):
            turn = round_ % len(left)
            for runner in left[turn:] + left[:turn]:
                output = self.runs / f"{time.time_ns()}-{runner.name}-{round_}"
                try:
                    yield self._one(runner, Run(self.job, self.images, urls, output), round_)
                except NotInstallable as missing:
                    print(f"  {runner.name} is left out: {missing}", flush=True)
                    left = [each for each in left if each is not runner]

    def _one(self, runner: Runner, run: Run, round_: int) -> Result:
        """Run `runner` once and check what it made.

        Raises:
            WrongOutput: the run failed, or did something else than the job.
            NotInstallable: what it needs beside itself is not there.
        """
        os.sync()  # what earlier runs wrote is not to be paid for by this one
        log = self.folder / f"{runner.name}.log"
        with runner.standing(run) as crew:
            usage = measure(crew.command, log=log, environment=crew.environment, standing=crew.pids)
        if usage.exit_code or usage.left_behind:
            left = f"{usage.left_behind} processes left"
            raise WrongOutput(f"{runner.name} ended with {usage.exit_code}, {left}; see {log}")
        output = check(run.job, run.photographs, runner.pictures(run), runner.formats)
        quality = self._quality(runner, run) if round_ == 1 else (None, None)
        return Result(runner.name, run.job.name, round_, run.photographs, output, usage, *quality)

    def _quality(self, runner: Runner, run: Run) -> tuple[float, float]:
        """Return how close the pictures come to the best, and how close its formats can come at most."""
        originals = corpus.ensure(self.folder, run.job.kind)
        owed = [box for box in run.job.boxes if box[1] in runner.formats]
        return psnr(runner.pictures(run), originals, owed), best_psnr(owed, originals)

    def clear(self) -> None:
        """Delete what was made, which is many files: not before the last round has been measured."""
        shutil.rmtree(self.runs, ignore_errors=True)


def prepared(names: list[str], folder: Path) -> list[Runner]:
    """Install who is measured; whoever can't be had here is named and left out."""
    runners = []
    for name in names:
        runner = RUNNERS[name]()
        try:
            runner.prepare(folder)
        except NotInstallable as missing:
            print(f"{name} is left out: {missing}", flush=True)
        else:
            runners.append(runner)
    return runners
