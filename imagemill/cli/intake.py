"""Hands the list in, or finds the batch that an earlier run of the same command made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagemill.cli.display import Display
from imagemill.cli.exits import CommandError
from imagemill.cli.labels import INPUT_DIGEST, INPUT_LINES, INPUT_NAME, labels_of
from imagemill.cli.options import RunOptions
from imagemill.cli.progress import RunProgress
from imagemill.cli.sources import Digest, SourceList, Survey
from imagemill.client import MillClient
from imagemill.domain.recipe import Recipe
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import ItemSource

FINAL = (Batch.STATE_COMPLETED, Batch.STATE_CANCELLED)


@dataclass(frozen=True, slots=True)
class Job:
    """What one command is to do: its options, its recipe, its list and what one reading of it told."""

    options: RunOptions
    recipe: Recipe
    sources: SourceList
    survey: Survey

    @property
    def batch_id(self) -> str:
        """The id that the same input and the same recipe give each time."""
        return "run-" + hashlib.sha256(f"{self.survey.digest} {self.recipe.fingerprint()}".encode()).hexdigest()[:16]

    @property
    def labels(self) -> dict[str, str]:
        """What the batch remembers of its input."""
        return labels_of(self.sources, self.survey)


class Intake:
    """Gives the batch of a job: the one that is there, or a new one."""

    def __init__(self, job: Job, client: MillClient, display: Display, progress: RunProgress) -> None:
        self._job = job
        self._client = client
        self._display = display
        self._progress = progress
        self.retriable = True
        """Whether some of what failed may be tried again, as far as the mill has said."""

    async def batch(self) -> Batch:
        """Return the batch, all items durable, ready to be followed.

        Raises:
            CommandError: the output folder belongs to another list or recipe, or the list changed meanwhile.
            MillError: the mill refuses the batch.
        """
        async for batch in self._client.list_batches():
            if batch.name != f"batches/{self._job.batch_id}":
                raise CommandError(_other_work(self._job, batch))
            if batch.state != Batch.STATE_RECEIVING:
                return await self._taken_up_again(batch)
        return await self._submitted()

    async def _taken_up_again(self, batch: Batch) -> Batch:
        if self._job.options.values.keep_undecodable and not batch.keep_undecodable:
            self._display.say(
                "--keep-undecodable comes too late: this list was begun without it. Run it into another folder."
            )
        if self._job.options.retry_failed:
            batch = await self._failed_again(batch)
        self._progress.batch = batch
        if batch.state in FINAL:
            items = _counted(batch.progress.total, "item")
            self._display.say(f"This list is done already ({items}); nothing is fetched again.")
            return batch
        self._display.say(f"Going on: {self._progress.done:,} of {self._progress.total:,} were done before.")
        return await self._client.resume(batch.name) if batch.state == Batch.STATE_PAUSED else batch

    async def _failed_again(self, batch: Batch) -> Batch:
        response = await self._client.retry_failed(batch.name)
        if not response.items:
            self.retriable = False
            self._display.say("Nothing that failed can be tried again.")
            return batch
        self._display.say(f"Trying {_counted(response.items, 'failed item')} again.")
        return response.batch

    async def _submitted(self) -> Batch:
        return await self._client.submit(
            self._items(),
            recipe=self._job.recipe.to_mapping(),
            batch_id=self._job.batch_id,
            request_id=self._job.batch_id,
            display_name=Path(self._job.labels[INPUT_NAME]).name,
            labels=self._job.labels,
            keep_originals=self._job.options.values.keep_originals,
            keep_undecodable=self._job.options.values.keep_undecodable,
            on_sent=self._note_sent,
        )

    def _items(self) -> Iterator[ItemSource]:
        digest = Digest()
        for line in digest.reading(self._job.sources.lines()):
            yield ItemSource(uri=line.text, source_row=line.row)
        if digest.survey() != self._job.survey:
            # Raised before the last chunk is confirmed, so no half-changed list is ever worked off.
            raise CommandError(
                f"{self._job.sources.name} changed while it was read. "
                f"Delete {self._job.options.state_folder} and run the command again."
            )

    def _note_sent(self, sent: int) -> None:
        self._progress.sent = sent
        self._display.sent()


def _other_work(job: Job, batch: Batch) -> str:
    options, labels = job.options, batch.labels
    recipe_changed = batch.recipe_fingerprint != job.recipe.fingerprint()
    input_changed = labels.get(INPUT_DIGEST) != job.survey.digest
    return (
        f"{options.out} belongs to another run: {_what_changed(job, batch, input_changed, recipe_changed)} "
        f"Give another folder with --out, or delete {options.state_folder} to start over in this one."
    )


def _what_changed(job: Job, batch: Batch, input_changed: bool, recipe_changed: bool) -> str:
    sentences = []
    if input_changed:
        name, entries = batch.labels.get(INPUT_NAME, batch.display_name), _entries(batch.labels.get(INPUT_LINES, ""))
        sentences.append(
            f"the list has changed (then {name} with {entries}, now {job.sources.name} with {job.survey.lines:,})."
        )
    if recipe_changed:
        sentences.append(f"the recipe has changed (now {job.options.values.recipe}).")
    return " ".join(sentences) or "it was made by other means."


def _entries(number: str) -> str:
    if not number.isdecimal():
        return "other entries"
    return "1 entry" if number == "1" else f"{int(number):,} entries"


def _counted(number: int, noun: str) -> str:
    """Say a number of things: `1 item`, `3,000 items`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
