"""The jobs of the two work queues, as handlers see them, and the messages they travel in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json import loads
from typing import TYPE_CHECKING, TypeVar

from imagemill import codec
from imagemill.domain.items import Facts, Original, Timings
from imagemill.domain.recipe import Recipe
from imagemill.runtime.stage import Job
from imagemill.v1 import messages_pb2
from imagemill.v1 import storage_service_pb2 as inner

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

LARGEST_MESSAGE = 16
"""Jobs in one message: together they spare 1 ms of CPU a job on the two hops."""


@dataclass(frozen=True, slots=True)
class DownloadJob:
    """One picture to download."""

    batch_id: str
    index: int
    attempt: int
    source: str
    recipe: str
    keep_original: bool

    @property
    def facts(self) -> Facts:
        """Nothing is known before the download."""
        return Facts()


@dataclass(frozen=True, slots=True)
class ProcessJob:
    """One original to render."""

    batch_id: str
    index: int
    attempt: int
    original_ref: str
    original: Original
    download_ms: float
    recipe_text: str

    @property
    def recipe(self) -> Recipe:
        """The recipe to render by."""
        return _recipe(self.recipe_text)[0]

    @property
    def fingerprint(self) -> str:
        """The recipe's fingerprint."""
        return _recipe(self.recipe_text)[1]

    @property
    def facts(self) -> Facts:
        """What the downloader found out."""
        return Facts(original=self.original, timings=Timings(download_ms=self.download_ms))


@lru_cache(maxsize=64)
def _recipe(text: str) -> tuple[Recipe, str]:
    recipe = Recipe.parse(loads(text))
    return recipe, recipe.fingerprint()


def decode_downloads(body: bytes) -> list[DownloadJob]:
    """The jobs of a message of `imagemill.download`."""
    message = messages_pb2.DownloadJobs.FromString(body)
    return [
        DownloadJob(message.batch_id, job.index, job.attempt, job.source, message.recipe, message.keep_originals)
        for job in message.jobs
    ]


def decode_processes(body: bytes) -> list[ProcessJob]:
    """The jobs of a message of `imagemill.process`."""
    message = messages_pb2.ProcessJobs.FromString(body)
    return [
        ProcessJob(
            message.batch_id,
            job.index,
            job.attempt,
            job.original_ref,
            codec.original_value(job.original),
            job.download_ms,
            message.recipe,
        )
        for job in message.jobs
    ]


def encode_processes(jobs: Iterable[ProcessJob]) -> list[bytes]:
    """Messages of `imagemill.process`, each of one batch and of a bounded number of jobs."""
    by_batch: dict[tuple[str, str], list[ProcessJob]] = defaultdict(list)
    for job in jobs:
        by_batch[job.batch_id, job.recipe_text].append(job)
    return [
        _process_message(batch_id, recipe, group[start : start + LARGEST_MESSAGE])
        for (batch_id, recipe), group in by_batch.items()
        for start in range(0, len(group), LARGEST_MESSAGE)
    ]


def _process_message(batch_id: str, recipe: str, jobs: Sequence[ProcessJob]) -> bytes:
    messages = [
        messages_pb2.ProcessJob(
            index=job.index,
            attempt=job.attempt,
            original_ref=job.original_ref,
            original=codec.original_message(job.original),
            download_ms=job.download_ms,
        )
        for job in jobs
    ]
    return messages_pb2.ProcessJobs(batch_id=batch_id, recipe=recipe, jobs=messages).SerializeToString()


JobT = TypeVar("JobT", bound=Job)


def ask_wanted(storage: StorageServiceAsyncStub, kind: type[JobT]) -> Callable[[Sequence[JobT]], Awaitable[list[JobT]]]:
    """Asks the store which jobs of a redelivered message are still to be done."""

    async def wanted(jobs: Sequence[JobT]) -> list[JobT]:
        if not jobs:
            return []
        asked = [inner.ItemAttempt(index=job.index, attempt=job.attempt) for job in jobs]
        request = inner.FilterWantedRequest(batch_id=jobs[0].batch_id, items=asked)
        indexes = set((await storage.FilterWanted(request)).indexes)
        return [job for job in jobs if job.index in indexes]

    return wanted
