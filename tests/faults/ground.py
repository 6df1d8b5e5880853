"""Where things die: servers of a run's own, a mill with several of each service, and a disk that can be filled."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import psutil

from imagemill.adapters.blobs import LocalBlobs
from imagemill.domain.items import State
from tests.faults.pictures_to_fetch import PicturesToFetch
from tests.support.cluster import Cluster, open_cluster
from tests.support.picture_server import PictureServer, serve_in_thread
from tests.support.postgres_node import PostgresNode
from tests.support.rabbitmq_node import RabbitNode

LEASE_S = 15
"""How long a claim holds that nobody has recorded as published: a death in between costs its items this long."""
DOWNLOADS = 16
TOLD = {
    # A full disk must not use up the attempts of an item.
    "RETRIES": "20",
    "RETRY_DELAY_S": "1",
    "RETRY_FACTOR": "1",
    # Answers may be as slow as the run is long.
    "MIN_BYTES_PER_S": "0",
    "DOWNLOADS": str(DOWNLOADS),
    "PER_HOST": str(DOWNLOADS),
}
DISK_BYTES = 512 << 20
SAMPLE_S = 0.25
_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)


@dataclass
class Progress:
    """How far the batch was when it was last looked at."""

    final: int = 0
    in_flight: int = 0


@dataclass
class Ground:
    """Everything that may be struck, and what it works on."""

    rabbit: RabbitNode
    postgres: PostgresNode
    cluster: Cluster
    server: PictureServer
    pictures: PicturesToFetch
    blobs: LocalBlobs
    has_own_disk: bool
    progress: Progress = field(default_factory=Progress)

    @contextmanager
    def full_disk(self) -> Iterator[str]:
        """Leave no room in the blob store; yields how."""
        if self.has_own_disk:
            with _filled(self.cluster.blobs / "filler"):
                yield "the file system is full"
        else:
            workers = [program.pid for name, program in self.cluster.programs.items() if _writes(name)]
            with _limited(workers):
                yield "no file may grow"

    def look(self) -> None:
        """Bring `progress` up to date, if the database can be asked."""
        with contextlib.suppress(*_AWAY):
            for batch in self.cluster.rows("SELECT * FROM batches ORDER BY created_at DESC LIMIT 1"):
                counts = {state: int(batch[f"n_{state.name.lower()}"]) for state in State}
                self.progress = Progress(
                    sum(number for state, number in counts.items() if state.is_final),
                    sum(number for state, number in counts.items() if state.is_in_flight),
                )


@contextmanager
def open_ground(folder: Path, items: int, *, replicas: int = 2, lease_s: int = LEASE_S) -> Iterator[Ground]:
    """Start the servers and all services of a mill; nothing of it runs on afterwards."""
    with ExitStack() as stack:
        (folder / "rabbitmq").mkdir()
        rabbit = RabbitNode(folder / "rabbitmq")
        stack.callback(rabbit.destroy)
        postgres = PostgresNode()
        stack.callback(postgres.destroy)
        server = stack.enter_context(serve_in_thread())
        mill = folder / "mill"
        (mill / "blobs").mkdir(parents=True)
        has_own_disk = stack.enter_context(_own_disk(mill / "blobs"))
        cluster = stack.enter_context(
            open_cluster(mill, rabbit.url, postgres.url(), replicas=replicas, told={**TOLD, "LEASE_S": str(lease_s)})
        )
        pictures = PicturesToFetch(server, items, at_once=replicas * DOWNLOADS)
        blobs = LocalBlobs(cluster.blobs)
        stack.callback(blobs.close)
        ground = Ground(rabbit, postgres, cluster, server, pictures, blobs, has_own_disk)
        cluster.start()
        cluster.until_serving()
        stack.enter_context(_watched(ground))
        yield ground


@contextmanager
def _watched(ground: Ground) -> Iterator[None]:
    """Look at the batch again and again: whoever is about to strike can't wait for a database that is away."""
    leaving = threading.Event()

    def look() -> None:
        while not leaving.wait(SAMPLE_S):
            ground.look()

    thread = threading.Thread(target=look, name="progress")
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        thread.join()


@contextmanager
def _own_disk(folder: Path) -> Iterator[bool]:
    """Put a small file system into a folder; false where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _filled(filler: Path) -> Iterator[None]:
    """Take all the room that there is, down to the last block."""
    with filler.open("wb") as file:
        step = DISK_BYTES
        end = 0
        while step >= os.statvfs(filler.parent).f_bsize:
            try:
                os.posix_fallocate(file.fileno(), end, step)
                end += step
            except OSError:
                step //= 2
        try:
            yield
        finally:
            filler.unlink()


@contextmanager
def _limited(pids: list[int]) -> Iterator[None]:
    """Let no file of these processes, and of their children, grow: the nearest to a full disk without rights."""
    limited = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(pid)
            for process in (first, *first.children(recursive=True)):
                process.rlimit(psutil.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
                limited.append(process)
    try:
        yield
    finally:
        for process in limited:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _writes(member: str) -> bool:
    return member.startswith(("downloader", "processor"))
