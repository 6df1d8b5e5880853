"""Runs in alternation: whoever is measured, one after another, on one job after another, round after round."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import corpus
from benchmarks.environments import NotInstallable
from benchmarks.jobs import Job, WrongOutput, check, write_list
from benchmarks.measure import measure
from benchmarks.peers import CeleryOnRedis, Img2dataset, Scrapy
from benchmarks.quality import best_psnr, psnr
from benchmarks.report import Result
from benchmarks.runners import Floor, Mill, MillKeepingOriginals, Plain, Run, Runner
from benchmarks.services import MillServices

RUNNERS: dict[str, Callable[[], Runner]] = {
    kind.name: kind
    for kind in (Mill, MillKeepingOriginals, MillServices, Img2dataset, Scrapy, CeleryOnRedis, Plain, Floor)
}

_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30
"""Bytes that must be free there: more than one round of a job writes."""


class Contest:
    """One job, done by each of `runners` once a round."""

    def __init__(self, job: Job, images: int, folder: Path, address: str, runners: Iterable[Runner]) -> None:
        """`folder` is where originals, lists and programs are kept; at `address` is the picture server."""
        self.job = job
        self._images = images
        self._folder = folder
        self._address = address
        self._left = [runner for runner in runners if job.name in runner.jobs]
        self._runs: list[Path] = []
        self.left_out: set[str] = set()
        """Who could not be run here."""

    def round(self, number: int) -> Iterator[Result]:
        """Run each once, in the first round in their order; then the next one goes first, for others find it warmer."""
        urls = self._folder / f"urls-{self.job.kind}.txt"
        write_list(self._address, self.job.kind, self._images, urls)
        runs = self._runs_folder()
        turn = (number - 1) % max(1, len(self._left))
        for runner in self._left[turn:] + self._left[:turn]:
            try:
                yield self._one(runner, Run(self.job, self._images, urls, runs / f"{runner.name}-{number}"), number)
            except NotInstallable as missing:
                print(f"  {runner.name} is left out: {missing}", flush=True)
                self.left_out.add(runner.name)
                self._left = [each for each in self._left if each is not runner]
        if runs.is_relative_to(_MEMORY):
            shutil.rmtree(runs)

    def _runs_folder(self) -> Path:
        """Make a folder for what the runs of one round write: in memory where there is room.

        A disk's file system keeps one run's deletions for the next one: ext4 passes over every inode that was freed in
        the last minutes when it looks for a new one, which was seen to cost 0.4 ms a picture. There all stays until the
        last round has been measured.
        """
        in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
        self._runs.append(Path(tempfile.mkdtemp(prefix="benchmarks-", dir=_MEMORY if in_memory else self._folder)))
        return self._runs[-1]

    def _one(self, runner: Runner, run: Run, round_: int) -> Result:
        """Run `runner` once and check what it made.

        Raises:
            WrongOutput: the run failed, or did something else than the job.
            NotInstallable: what it needs beside itself is not there.
        """
        os.sync()  # what earlier runs wrote is not to be paid for by this one
        log = self._folder / f"{runner.name}.log"
        with runner.standing(run) as crew:
            usage = measure(crew.command, log=log, environment=crew.environment, standing=crew.pids)
        if usage.exit_code or usage.left_behind:
            left = f"{usage.left_behind} processes left"
            raise WrongOutput(f"{runner.name} ended with {usage.exit_code}, {left}; see {log}")
        output = check(run.job, run.photographs, runner.pictures(run), runner.formats)
        quality = self._quality(runner, run) if round_ == 1 else (None, None)
        return Result(runner.name, run.job.name, round_, run.photographs, output, usage, *quality)

    def _quality(self, runner: Runner, run: Run) -> tuple[float, float]:
        """Return how close the pictures come to a full decode by Lanczos, and how close that itself stays encoded."""
        originals = corpus.ensure(self._folder, run.job.kind)
        owed = [box for box in run.job.boxes if box[1] in runner.formats]
        return psnr(runner.pictures(run), originals, owed), best_psnr(owed, originals)

    def clear(self) -> None:
        """Delete what was made and lies there still."""
        for runs in self._runs:
            shutil.rmtree(runs, ignore_errors=True)


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
