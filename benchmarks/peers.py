"""Programs of others, each in an environment of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from benchmarks.environments import PROJECT, NotInstallable, install
from benchmarks.runners import Crew, Run, Runner
from tests.support.processes import Program

_HERE = Path(__file__).parent
_CORES = os.cpu_count() or 1
_JPEG = frozenset({"JPEG"})


class Img2dataset(Runner):
    """img2dataset with files as output; processes, threads and shards are set to its advantage."""

    name = "img2dataset"
    jobs = frozenset({"R", "L", "M"})
    formats = _JPEG
    environment: Mapping[str, str] = MappingProxyType({"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"})

    def __init__(self, *, processes: int = _CORES, threads: int = 64, shards: int = 1) -> None:
        self._processes, self._threads, self._shards = processes, threads, shards
        self._program = Path()

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        self._program = install(folder / "img2dataset", _HERE / "requirements-img2dataset.txt") / "img2dataset"

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
            "extract_exif": False,
            "enable_wandb": False,
        }
        return [str(self._program), *(f"--{name}={value}" for name, value in options.items())]

    def pictures(self, run: Run) -> Iterable[Path]:
        return run.output.glob("*/*.jpg")


class Scrapy(Runner):
    """Scrapy's image pipeline with thumbnails, one crawl a core."""

    name = "scrapy"
    formats = _JPEG

    def __init__(self) -> None:
        self._python = Path()

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        self._python = install(folder / "scrapy", _HERE / "requirements-scrapy.txt") / "python"

    def command(self, run: Run) -> list[str]:
        return [str(self._python), "-m", "benchmarks.scrapy_peer", run.job.name, str(run.urls), str(run.output)]

    def pictures(self, run: Run) -> Iterable[Path]:
        return run.output.glob("*/thumbs/*/*.jpg")


class CeleryOnRedis(Runner):
    """A Celery worker with one process a core, fed through Redis; both stand before the run."""

    name = "celery"

    def __init__(self) -> None:
        self._programs = Path()
        self._redis = ""

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        self._programs = install(folder / "celery", _HERE / "requirements-celery.txt")
        self._redis = _redis_server()

    @contextmanager
    def standing(self, run: Run) -> Iterator[Crew]:
        folder = run.output.with_suffix(".celery")
        folder.mkdir()
        port = _free_port()
        url = {"BENCH_REDIS": f"redis://127.0.0.1:{port}/0"}
        redis = Program(
            [self._redis, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)], folder
        )
        # Without what only several workers need.
        alone = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]
        words = ["-m", "celery", "-A", "benchmarks.celery_peer", "worker", "--concurrency", str(_CORES), *alone]
        python = str(self._programs / "python")
        worker = Program([python, *words], folder, environment=url)
        try:
            worker.wait_until(lambda: " ready." in worker.err)
            wanted = [run.job.name, str(run.urls), str(run.output)]
            command = [python, "-m", "benchmarks.celery_peer", *wanted]
            yield Crew({"redis": redis.pid, "worker": worker.pid}, command, url)
        finally:
            worker.destroy()
            redis.destroy()


def _redis_server() -> str:
    """Return the path of Redis's server, installed where that is possible.

    Raises:
        NotInstallable: it is not.
    """
    if found := shutil.which("redis-server"):
        return found
    done = subprocess.run(["tools/servers.sh", "redis-server"], cwd=PROJECT, capture_output=True, text=True)
    found = shutil.which("redis-server")
    if done.returncode or found is None:
        raise NotInstallable(f"there is no redis-server: {done.stderr.strip()}")
    return found


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
