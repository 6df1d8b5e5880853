"""The jobs of the two work queues, as handlers see them, and the messages they travel in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json import loads
from typing import TYPE_CHECKING, Protocol, TypeVar

from imagemill import codec
from imagemill.domain.failures import Failure
from imagemill.domain.items import SUSPECT_CLAIMS, Facts, Original, Timings
from imagemill.domain.recipe import Recipe
from imagemill.runtime.in_hand import Job
from imagemill.v1 import messages_pb2
from imagemill.v1 import storage_service_pb2 as inner

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

ASK_S = 2.0
"""How long the store may take to say what is wanted, in seconds; jobs are done rather than waited with for longer."""

LARGEST_MESSAGE = 16
"""Jobs in one message: together they spare 1 ms of CPU a job on the two hops."""


class Claimed(Protocol):
    """Something that was claimed."""

    @property
    def claim(self) -> int:
        """How often, in the present attempt."""


ClaimedT = TypeVar("ClaimedT", bound=Claimed)


@dataclass(frozen=True, slots=True)
class DownloadJob:
    """One picture to download."""

    batch_id: str
    index: int
    attempt: int
    source: str
    recipe: str
    keep_original: bool
    claim: int = 1
    keep_undecodable: bool = False
    priority: int = 1
    """The batch's: those that wait for their turn at once take turns by it."""

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
    claim: int = 1
    keep_undecodable: bool = False
    refusal: Failure | None = None
    """Why it can't be rendered, when its first bytes have told: it is only put aside."""

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
        DownloadJob(
            message.batch_id,
            job.index,
            job.attempt,
            job.source,
            message.recipe,
            message.keep_originals,
            job.claim,
            message.keep_undecodable,
            max(message.priority, 1),
        )
        for job in message.jobs
    ]


def decode_processes(body: bytes) -> list[ProcessJob]:
    """The jobs of a message of `imagemill.process`."""
    message = messages_pb2.ProcessJobs.FromString(body)
    return [job for part in (message, *message.beside) for job in _process_jobs(part)]


def _process_jobs(message: messages_pb2.ProcessJobs) -> list[ProcessJob]:
    return [
        ProcessJob(
            message.batch_id,
            job.index,
            job.attempt,
            job.original_ref,
            codec.original_value(job.original),
            job.download_ms,
            message.recipe,
            job.claim,
            message.keep_undecodable,
            codec.failure_value(job.refusal) if job.HasField("refusal") else None,
        )
        for job in message.jobs
    ]


def encode_processes(jobs: Iterable[ProcessJob]) -> list[bytes]:
    """Messages of `imagemill.process`, each of a bounded number of jobs of any batches; suspects travel alone."""
    return [_process_message(part) for part in parts(list(jobs), LARGEST_MESSAGE)]


def parts(jobs: Sequence[ClaimedT], size: int) -> Iterator[Sequence[ClaimedT]]:
    """Jobs in the portions in which they travel: at most `size` together, and each suspect alone."""
    together = [job for job in jobs if job.claim < SUSPECT_CLAIMS]
    for start in range(0, len(together), size):
        yield together[start : start + size]
    for job in jobs:
        if job.claim >= SUSPECT_CLAIMS:
            yield [job]


def _process_message(jobs: Iterable[ProcessJob]) -> bytes:
    by_batch: dict[str, list[ProcessJob]] = defaultdict(list)
    for job in jobs:
        by_batch[job.batch_id].append(job)
    message, *beside = (_of_one_batch(group) for group in by_batch.values())
    message.beside.extend(beside)
    return message.SerializeToString()


def _of_one_batch(jobs: Sequence[ProcessJob]) -> messages_pb2.ProcessJobs:
    """Jobs that have their batch's recipe and its choices in common."""
    messages = [
        messages_pb2.ProcessJob(
            index=job.index,
            attempt=job.attempt,
            claim=job.claim,
            original_ref=job.original_ref,
            original=codec.original_message(job.original),
            download_ms=job.download_ms,
            refusal=codec.failure_message(job.refusal),
        )
        for job in jobs
    ]
    first = jobs[0]
    return messages_pb2.ProcessJobs(
        batch_id=first.batch_id, recipe=first.recipe_text, keep_undecodable=first.keep_undecodable, jobs=messages
    )


JobT = TypeVar("JobT", bound=Job)


def ask_wanted(storage: StorageServiceAsyncStub, kind: type[JobT]) -> Callable[[Sequence[JobT]], Awaitable[list[JobT]]]:
    """Asks the store which jobs of a redelivered message are still to be done."""

    async def wanted(jobs: Sequence[JobT]) -> list[JobT]:
        keys: set[tuple[str, int]] = set()
        for batch_id in {job.batch_id for job in jobs}:
            asked = [
                inner.ItemAttempt(index=job.index, attempt=job.attempt, claim=job.claim)
                for job in jobs
                if job.batch_id == batch_id
            ]
            request = inner.FilterWantedRequest(batch_id=batch_id, items=asked, for_download=kind is DownloadJob)
            answer = await storage.FilterWanted(request, timeout=ASK_S)
            keys |= {(batch_id, index) for index in answer.indexes}
        return [job for job in jobs if (job.batch_id, job.index) in keys]

    return wanted
