"""Who is measured: one class per program, each with the settings its own documentation recommends for this job.

A new peer is a class made from `Runner`, and a line in `RUNNERS` of `benchmarks/contest.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from benchmarks.environments import PROJECT, compile_project, install
from benchmarks.jobs import JOBS, Job

EVERY_JOB = frozenset(JOBS)
FORMATS = frozenset({"JPEG", "WEBP"})


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run."""

    job: Job
    photographs: int
    urls: Path
    """A text file, one URL a line."""
    output: Path
    """A folder that doesn't exist yet."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Servers that stand before the run and work for it; their start is not measured, their work is."""

    pids: Mapping[str, int] = field(default_factory=dict)
    """The first process of each."""
    command: list[str] = field(default_factory=list)
    """What is run and measured beside them."""
    environment: Mapping[str, str] = field(default_factory=dict)


class Runner(Protocol):
    """A program that does a job."""

    name: str
    jobs: frozenset[str] = EVERY_JOB
    formats: frozenset[str] = FORMATS
    """What it can write; of a job's outputs it owes only these."""
    environment: Mapping[str, str] = MappingProxyType({})

    def prepare(self, folder: Path) -> None:
        """Install what is needed, outside the measured time; `folder` stays between calls.

        Raises:
            NotInstallable: it can't be had here.
        """
        compile_project()

    def standing(self, run: Run) -> AbstractContextManager[Crew]:
        """Have up what is up before the run; a program that starts with its job has no such thing."""
        return nullcontext(Crew(command=self.command(run), environment=self.environment))

    def command(self, run: Run) -> list[str]:
        """Return what is run and measured, for a program that starts with its job."""
        raise NotImplementedError

    def pictures(self, run: Run) -> Iterable[Path]:
        """Return the files that it made."""
        return run.output.iterdir()


class Mill(Runner):
    """The mill as its users start it: everything in one process tree, installed with what it needs and no more."""

    name = "mill"

    def __init__(self) -> None:
        self.program = Path(sys.executable).with_name("imagemill")
        """Where nothing was prepared, the mill beside this Python."""

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        lists = [PROJECT / "requirements" / name for name in ("runtime.txt", "build.txt")]
        self.program = install(folder / "mill", *lists, editable=PROJECT) / "imagemill"

    def command(self, run: Run) -> list[str]:
        recipe = ["--recipe", run.job.recipe, "--allow-net", "127.0.0.0/8"]
        return [str(self.program), "run", str(run.urls), "-o", str(run.output), *recipe]

    def pictures(self, run: Run) -> Iterable[Path]:
        return (path for path in run.output.iterdir() if path.suffix in {".jpg", ".webp"})


class MillKeepingOriginals(Mill):
    """The mill when it leaves every original beside what it made of it."""

    name = "mill-originals"
    jobs = frozenset({"R"})

    def command(self, run: Run) -> list[str]:
        return [*super().command(run), "--keep-originals"]


class Plain(Runner):
    """What a good programmer writes in an hour: aiohttp, a pool of processes, Pillow; no durability, no retries."""

    name = "plain"

    def command(self, run: Run) -> list[str]:
        """Its libraries are among ours."""
        return [sys.executable, "-m", "benchmarks.plain", run.job.name, str(run.urls), str(run.output)]


class Floor(Runner):
    """The parts by themselves: fetch, render, write, one process a core, the mill's encoders."""

    name = "floor"

    def command(self, run: Run) -> list[str]:
        """Its libraries are among ours."""
        return [sys.executable, "-m", "benchmarks.floor", run.job.name, str(run.urls), str(run.output)]
