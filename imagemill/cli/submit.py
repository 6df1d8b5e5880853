"""`imagemill submit`: a list of any size handed to a running mill."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from imagemill.cli.display import Display, PlainDisplay, open_display
from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.interrupts import interruptible
from imagemill.cli.labels import INPUT_DIGEST, labels_of
from imagemill.cli.options import SubmitOptions, to_reach
from imagemill.cli.output import LastingStream, tell_error
from imagemill.cli.printing import print_json, print_text
from imagemill.cli.progress import RunProgress, counts_text
from imagemill.cli.recipe_files import RecipeFileError, load_recipe
from imagemill.cli.records import batch_details
from imagemill.cli.remote import asked, begin_work
from imagemill.cli.sources import Digest, SourceList, Survey, open_sources, survey
from imagemill.cli.watching import follow, left, shown
from imagemill.client import MillClient, MillError
from imagemill.domain.recipe import Recipe
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import ItemSource

PATIENCE_S = 60.0
"""How long the mill may be away while a list is handed in, in seconds: a restart is well within."""
LONGEST_SLUG = 24


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be handed in."""

    options: SubmitOptions
    recipe: Recipe
    sources: SourceList
    survey: Survey

    @property
    def display_name(self) -> str:
        """The name for people."""
        return _encodable(self.options.name or Path(self.sources.name).name)

    @property
    def batch_id(self) -> str:
        """The id asked for; else what the same list and recipe give each time, begun with the list's name."""
        if self.options.batch_id or self.options.request_id:
            return self.options.batch_id
        kept = f"{self.options.values.keep_originals} {self.options.values.keep_undecodable}"
        content = f"{self.survey.digest} {self.recipe.fingerprint()} {kept}"
        slug = re.sub("[^a-z0-9]+", "-", Path(self.display_name).stem.lower()).strip("-")[:LONGEST_SLUG].strip("-")
        return f"{slug or 'list'}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"

    def items(self) -> Iterator[ItemSource]:
        """Read the list once more, for the mill. Raises `CommandError` when it is not what was surveyed."""
        digest = Digest()
        for line in digest.reading(self.sources.lines()):
            yield ItemSource(uri=line.text, source_row=line.row)
        if digest.survey() != self.survey:
            # Raised before the last chunk is confirmed, so no half-changed list is ever worked off.
            raise CommandError(f"{self.sources.name} changed while it was read; hand it in again under another id.")


def submit_command(options: SubmitOptions) -> ExitCode:
    """Hand a list in, and follow the batch if that is wished."""
    display: Display = (
        open_display(as_json=options.json, quiet=False, verbose=False, lasting=False)
        if options.watch
        # Standard output is for the batch's name alone.
        else PlainDisplay(cast("TextIO", LastingStream(sys.stderr)))
    )
    return shown(display, lambda: _submit(options, display))


def _submit(options: SubmitOptions, display: Display) -> ExitCode:
    options.check()
    try:
        recipe = load_recipe(options.values.recipe)
    except RecipeFileError as error:
        raise CommandError(str(error)) from error
    opened = open_sources(options.sources, lambda: Path(tempfile.gettempdir()), start_at=options.start_at)
    with closing(opened) as sources:
        order = Order(options, recipe, sources, survey(sources))
        begin_work()
        return asyncio.run(_handed_in(order, display))


async def _handed_in(order: Order, display: Display) -> ExitCode:
    progress = RunProgress(expected=order.survey.lines)

    def words() -> str:
        if progress.batch.name:
            return left(progress.batch, order.options.values.to)
        return "Stopped before all was handed in. The same command takes it up again."

    work = asked(order.options.values.to, lambda client: _work(order, client, display, progress))
    return await interruptible(work, display.stop, words)


async def _work(order: Order, client: MillClient, display: Display, progress: RunProgress) -> ExitCode:
    options = order.options
    display.start(progress)
    batch = await _known(order, client)
    if batch is not None:
        tell_error(f"Handed in before as {batch.name}: {counts_text(batch.progress)}. A new batch needs a --batch-id.")
    else:
        batch = await _send(order, display, progress)
    progress.batch = batch
    if options.watch:
        display.say(batch.name)
        return await follow(client, batch, display, progress, options.values.to, as_json=options.json)
    if options.json:
        print_json(batch_details(batch), indent=2)
    else:
        print_text(batch.name)
    return ExitCode.OK


async def _known(order: Order, client: MillClient) -> Batch | None:
    """Return the batch that an earlier call made of this list and recipe.

    Raises:
        CommandError: the id belongs to another list or recipe, or to one of which something else is kept.
    """
    if not order.batch_id:
        return None
    try:
        batch = await client.get(order.batch_id)
    except MillError as error:
        if error.reason == "BATCH_NOT_FOUND":
            return None
        raise
    asked = order.options.values
    known = f"imagemill get {order.batch_id}{to_reach(asked.to)} shows it"
    same_list = batch.labels.get(INPUT_DIGEST) == order.survey.digest
    if not same_list or batch.recipe_fingerprint != order.recipe.fingerprint():
        raise CommandError(
            f"--batch-id {order.batch_id} belongs to another list or recipe; {known}. Choose another id."
        )
    if (batch.keep_originals, batch.keep_undecodable) != (asked.keep_originals, asked.keep_undecodable):
        raise CommandError(
            f"--batch-id {order.batch_id} is this list with another --keep-originals or --keep-undecodable; "
            f"{known}. Give the same, or choose another id."
        )
    return None if batch.state == Batch.STATE_RECEIVING else batch


async def _send(order: Order, display: Display, progress: RunProgress) -> Batch:
    options = order.options

    def note_sent(sent: int) -> None:
        progress.sent = sent
        display.sent()

    async with MillClient(options.values.to, patience_s=PATIENCE_S) as client:
        return await client.submit(
            order.items(),
            recipe=order.recipe.to_mapping(),
            batch_id=order.batch_id,
            request_id=options.request_id or order.batch_id,
            display_name=order.display_name,
            labels=labels_of(order.sources, order.survey),
            priority=options.priority,
            keep_originals=options.values.keep_originals,
            keep_undecodable=options.values.keep_undecodable,
            on_sent=note_sent,
        )


def _encodable(text: str) -> str:
    """Replace what a file's name may hold and no text can."""
    return text.encode(errors="replace").decode()
