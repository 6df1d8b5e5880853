"""`imagemill watch`: a batch followed to its end, or all of them until one has seen enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from imagemill.cli.bulletin import FINAL
from imagemill.cli.display import Display, open_display
from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.interrupts import interruptible
from imagemill.cli.options import mill_at, to_reach
from imagemill.cli.output import tell_error
from imagemill.cli.overview import Overview, open_overview
from imagemill.cli.progress import RunProgress
from imagemill.cli.remote import asked, begin_work, find_batch, id_of
from imagemill.cli.summary import batch_end
from imagemill.client import MillClient, MillError
from imagemill.client.patience import Patience
from imagemill.client.settings import SettingsClient
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import BatchReport

GIVE_UP_AFTER_S = 600.0
"""How long the mill may be away while it is watched, in seconds."""


def watch_command(word: str, to: str | None, as_json: bool) -> ExitCode:
    """Follow one batch to its end."""
    display = open_display(as_json=as_json, quiet=False, verbose=False, lasting=False)
    return shown(display, lambda: _watch(word, to, as_json, display))


def shown(display: Display, work: Callable[[], ExitCode]) -> ExitCode:
    """Do `work` with a display that is left as it should be, whatever comes."""
    message: str | None = None
    try:
        code = work()
    except CommandError as error:
        code, message = error.code, error.message
    finally:
        display.stop()
    if message is not None:
        tell_error(message)
    display.end(code, message)
    return code


def _watch(word: str, to: str | None, as_json: bool, display: Display) -> ExitCode:
    if not word:
        shown_by = f"imagemill list{to_reach(mill_at(to))}"
        raise CommandError(f"Say which batch: {shown_by} shows them, and --all follows every one.")
    progress, mill = RunProgress(expected=0), mill_at(to)

    async def work(client: MillClient) -> ExitCode:
        batch = await find_batch(client, word)
        progress.batch = batch
        display.start(progress)
        return await follow(client, batch, display, progress, mill, as_json=as_json)

    begin_work()
    return asyncio.run(interruptible(asked(mill, work), display.stop, lambda: left(progress.batch, mill)))


async def follow(
    client: MillClient, batch: Batch, display: Display, progress: RunProgress, mill: str, *, as_json: bool
) -> ExitCode:
    """Show a batch until it has ended, then what became of it; the exit code says whether all went well.

    `mill` is the address that the client asks.
    """
    absence = Absence(tell_error if as_json else display.say)
    updates = client.watch(
        batch, view="items" if as_json else "failures", give_up_after_s=GIVE_UP_AFTER_S, on_away=absence.begins
    )
    async with aclosing(updates):
        async for update in updates:
            absence.ends()
            progress.hear(update)
            display.updated(update)
    report = await _report(client, batch, absence)
    pictures = await _pictures_place(mill, id_of(batch))
    display.stop()
    display.say(batch_end(report, to_reach(mill), pictures))
    counts = report.batch.progress
    return ExitCode.SOME_FAILED if counts.failed or counts.cancelled else ExitCode.OK


async def _report(client: MillClient, batch: Batch, absence: Absence) -> BatchReport:
    """Ask what became of a batch, with the patience of the watch before it."""
    patience = Patience(GIVE_UP_AFTER_S)
    while True:
        try:
            report = await client.report(batch)
        except MillError as error:
            if error.may_pass:
                absence.begins()
            await patience.wait_after(error)
        else:
            absence.ends()
            return report


async def _pictures_place(mill: str, batch_id: str) -> str:
    """Where a mill keeps a batch's pictures: one of several processes has a store instead of a folder."""
    in_folder = f"in the mill's data folder, under pictures/{batch_id}"
    in_store = (
        f"in the mill's blob store (IMAGEMILL_BLOB_URL), under batches/{batch_id}/renders; --links of items gives links"
    )
    try:
        async with SettingsClient(mill) as client:
            names = {setting.name for setting in await client.list_settings()}
    except MillError:
        return f"{in_folder}; or {in_store}"
    return in_store if "broker_url" in names else in_folder


def left(batch: Batch, mill: str) -> str:
    """Say that a batch goes on though nobody looks, and how to follow it again at the mill of that address."""
    if not batch.name:
        return "Stopped."
    return f"Left {batch.name}; the mill works on. To follow it again: imagemill watch {id_of(batch)}{to_reach(mill)}"


class Absence:
    """Tells once that the mill is away, and once that it is back."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._away = False

    def begins(self) -> None:
        """Note that the mill does not answer."""
        if not self._away:
            self._away = True
            self._say("The mill does not answer; waiting for it. What it has finished is safe.")

    def ends(self) -> None:
        """Note that the mill has answered."""
        if self._away:
            self._away = False
            self._say("The mill is back.")


def watch_all_command(to: str | None, as_json: bool) -> ExitCode:
    """Follow every batch until the command is stopped."""
    mill = mill_at(to)
    begin_work()
    overview = open_overview(as_json=as_json)
    try:
        work = asked(mill, lambda client: _follow_all(client, overview, tell_error if as_json else overview.say))
        return asyncio.run(interruptible(work, overview.stop, lambda: "Left; the mill works on."))
    finally:
        overview.stop()


async def _follow_all(client: MillClient, overview: Overview, say: Callable[[str], None]) -> ExitCode:
    absence = Absence(say)
    ended = {batch.name: batch.revision async for batch in client.list_batches(page_size=1000) if batch.state in FINAL}
    overview.start()
    updates = client.watch_all(after_revisions=ended, give_up_after_s=GIVE_UP_AFTER_S, on_away=absence.begins)
    async with aclosing(updates):
        async for update in updates:
            absence.ends()
            # What had ended before is told of only when it is taken up again.
            if update.revision > ended.get(update.batch.name, -1):
                overview.updated(update)
    return ExitCode.OK
