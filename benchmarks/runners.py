"""Who is measured: one class per program, each with the settings its own documentation recommends for this job.

A new peer is a class with the four members of `Runner` and a line in `RUNNERS`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from benchmarks.jobs import Job

_HERE = Path(__file__).parent
_CORES = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run."""

    job: Job
    photographs: int
    urls: Path
    """A text file, one URL a line."""
    output: Path
    """A folder that doesn't exist yet."""


class Runner(Protocol):
    """A program that does a job."""

    name: str
    jobs: frozenset[str]
    environment: Mapping[str, str]

    def prepare(self, folder: Path) -> None:
        """Install what is needed, outside the measured time; `folder` stays between calls."""

    def command(self, run: Run) -> list[str]:
        """Return what is run and measured."""

    def pictures(self, run: Run) -> Iterable[Path]:
        """Return the files that it made."""


class Mill:
    """The mill as its users start it: everything in one process tree, installed with what it needs and no more."""

    name = "mill"
    jobs = frozenset({"R", "T"})
    environment: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        self._program = Path(sys.executable).with_name("imagemill")
        """Where nothing was prepared, the mill beside this Python."""

    def prepare(self, folder: Path) -> None:
        lists = [_HERE.parent / "requirements" / name for name in ("runtime.txt", "build.txt")]
        self._program = _install(folder / "mill", *lists, editable=_HERE.parent) / "imagemill"

    def command(self, run: Run) -> list[str]:
        recipe = ["--recipe", run.job.recipe, "--allow-net", "127.0.0.0/8"]
        return [str(self._program), "run", str(run.urls), "-o", str(run.output), *recipe]

    def pictures(self, run: Run) -> Iterable[Path]:
        return (path for path in run.output.iterdir() if path.suffix in {".jpg", ".webp"})


class Img2dataset:
    """img2dataset with files as output; processes, threads and shards are set to its advantage."""

    name = "img2dataset"
    jobs = frozenset({"R"})
    environment: Mapping[str, str] = MappingProxyType({"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"})

    def __init__(self, *, processes: int = _CORES, threads: int = 64, shards: int = 1) -> None:
        self._processes, self._threads, self._shards = processes, threads, shards
        self._program = Path()

    def prepare(self, folder: Path) -> None:
        self._program = _install(folder / "img2dataset", _HERE / "requirements-img2dataset.txt") / "img2dataset"

    def command(self, run: Run) -> list[str]:
        # Shards are its unit of work, one process on each. One a process was fastest of 1, 2 and 4, as were 64 threads
        # of 16, 32 and 64.
        shard = -(-run.photographs // (self._shards * self._processes))
        options = {
            "url_list": run.urls,
            "input_format": "txt",
            "output_folder": run.output,
            "output_format": "files",
            "processes_count": self._processes,
            "thread_count": self._threads,
            "number_sample_per_shard": shard,
            "image_size": 256,
            "resize_mode": "keep_ratio_largest",
            "resize_only_if_bigger": True,
            "encode_format": "jpg",
            "encode_quality": 85,
            "enable_wandb": False,
        }
        return [str(self._program), *(f"--{name}={value}" for name, value in options.items())]

    def pictures(self, run: Run) -> Iterable[Path]:
        return run.output.glob("*/*.jpg")


class Plain:
    """What a good programmer writes in an hour: aiohttp, a pool of processes, Pillow; no durability, no retries."""

    name = "plain"
    jobs = frozenset({"R", "T"})
    environment: Mapping[str, str] = MappingProxyType({})

    def prepare(self, folder: Path) -> None:
        """Do nothing: its libraries are among ours."""

    def command(self, run: Run) -> list[str]:
        return [sys.executable, "-m", "benchmarks.plain", run.job.name, str(run.urls), str(run.output)]

    def pictures(self, run: Run) -> Iterable[Path]:
        return run.output.iterdir()


RUNNERS: dict[str, Callable[[], Runner]] = {"mill": Mill, "img2dataset": Img2dataset, "plain": Plain}


def _install(folder: Path, *requirements: Path, editable: Path | None = None) -> Path:
    """Install lists of dependencies into a virtual environment of its own, once; return its folder of programs.

    `editable` is a project that is installed there too, as it stands.
    """
    installed = folder / "installed.txt"
    wanted = b"".join(each.read_bytes() for each in requirements)
    if not installed.exists() or installed.read_bytes() != wanted:
        print(f"installing {folder.name} into {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        lists = [argument for each in requirements for argument in ("-r", str(each))]
        subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", *lists], check=True)
        if editable:
            project = ["--no-deps", "--no-build-isolation", "--no-index", "--editable", str(editable)]
            subprocess.run([*pip, *project], check=True)
        installed.write_bytes(wanted)
    return folder / "bin"
