"""`imagemill run`: a list in, pictures and a manifest out, in one go or in as many as it takes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from imagemill.cli.display import Display, open_display
from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.intake import FINAL, Intake, Job
from imagemill.cli.interrupts import Interrupts
from imagemill.cli.logfile import Alarms, start_logging
from imagemill.cli.manifest import ManifestWriter
from imagemill.cli.mill import Mill, MillOpener, open_embedded
from imagemill.cli.options import RunOptions
from imagemill.cli.output import tell_error
from imagemill.cli.output_folder import prepared_folder
from imagemill.cli.pictures import PictureFolder
from imagemill.cli.progress import RunProgress
from imagemill.cli.recipe_files import RecipeFileError, load_recipe
from imagemill.cli.records import report_record
from imagemill.cli.sources import open_sources, survey
from imagemill.cli.summary import interrupted, summary
from imagemill.client import MillClient, MillError
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import WATCH_VIEW_ITEMS, WATCH_VIEW_RESULTS, BatchReport

T = TypeVar("T")

_LOGGER = logging.getLogger(__name__)


def run_command(options: RunOptions, opener: MillOpener = open_embedded) -> ExitCode:
    """Do what `imagemill run` is asked to do, and say how it ended: nothing is raised, nothing is left running."""
    display = open_display(as_json=options.json, quiet=options.quiet, verbose=options.verbose)
    message: str | None = None
    try:
        code = _run(options, opener, display)
    except CommandError as error:
        code, message = error.code, error.message
    except KeyboardInterrupt:
        code, message = ExitCode.INTERRUPTED, interrupted(0, 0)
    except Exception:
        _LOGGER.exception("The command could not go on.")
        code = ExitCode.BROKEN
        message = (
            f"Something went wrong in the mill itself; {log_path(options)} says what. Nothing that was finished "
            "is lost: run the same command again to go on."
        )
    display.stop()
    if message is not None:
        tell_error(message)
    display.end(code, message)
    return code


def log_path(options: RunOptions) -> Path:
    """Return where the mill's log is."""
    return options.state_folder / "mill.log"


def _run(options: RunOptions, opener: MillOpener, display: Display) -> ExitCode:
    options.check()
    try:
        recipe = load_recipe(options.recipe)
    except RecipeFileError as error:
        raise CommandError(str(error)) from error
    with closing(open_sources(options.sources, lambda: prepared_folder(options))) as sources:
        job = Job(options, recipe, sources, survey(sources))
        prepared_folder(options)
        start_logging(log_path(options), to_stderr=options.verbose)
        logging.getLogger().addHandler(Alarms(display.say))
        return asyncio.run(_interruptible(job, opener, display))


async def _interruptible(job: Job, opener: MillOpener, display: Display) -> ExitCode:
    progress = RunProgress(expected=job.survey.lines)

    def stopping() -> None:
        display.stop()
        display.say("Stopping…")

    def last_words() -> None:
        # Straight to the descriptor: whatever hangs may hold a lock of the streams.
        os.write(2, f"imagemill: {interrupted(progress.done, progress.total)}\n".encode())

    with Interrupts(stopping, last_words) as interrupts:
        try:
            return await _in_mill(job, opener, display, progress)
        except (Exception, asyncio.CancelledError) as error:
            if interrupts.code is None:
                raise
            unforeseen = None if isinstance(error, asyncio.CancelledError) else error
            _LOGGER.info("Stopped by a signal.", exc_info=unforeseen)
            raise CommandError(interrupted(progress.done, progress.total), interrupts.code) from None


async def _in_mill(job: Job, opener: MillOpener, display: Display, progress: RunProgress) -> ExitCode:
    problem: CommandError | MillError
    async with opener(job.options) as mill:
        try:
            async with MillClient(mill.target) as client:
                return await _alongside(mill.failed, Run(job, mill, client, display, progress).finish())
        except (CommandError, MillError) as error:
            # Raised only outside, so that it does not look like a failure of the mill.
            problem = error
    raise problem if isinstance(problem, CommandError) else _refused(problem, job.options)


async def _alongside(failed: Awaitable[None], work: Coroutine[Any, Any, T]) -> T:
    """Await `work` for as long as the mill lives; raises what the mill died of."""
    task, death = asyncio.ensure_future(work), asyncio.ensure_future(failed)
    try:
        await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
        if death.done():
            death.result()
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _refused(error: MillError, options: RunOptions) -> CommandError:
    _LOGGER.error("The mill refused a call.", exc_info=error)
    if error.fields:
        return CommandError("\n".join(f"{field}: {problem}" for field, problem in error.fields.items()))
    return CommandError(f"{error.message} ({error.reason}; see {log_path(options)})", ExitCode.BROKEN)


class Run:
    """One run of a job in an open mill."""

    def __init__(self, job: Job, mill: Mill, client: MillClient, display: Display, progress: RunProgress) -> None:
        self._job = job
        self._mill = mill
        self._client = client
        self._display = display
        self._progress = progress

    async def finish(self) -> ExitCode:
        """Bring the job to its end: batch, pictures, manifest, report, summary."""
        self._display.start(self._progress)
        intake = Intake(self._job, self._client, self._display, self._progress)
        batch, options = await intake.batch(), self._job.options
        pictures = PictureFolder(
            options.out, options.state_folder, self._mill.blob_path, since=batch.create_time.ToNanoseconds() / 1e9
        )
        # A program that reads the changes gets those of a finished batch, too.
        if batch.state not in FINAL or options.json:
            await self._follow(batch, pictures)
        await self._write_manifest(batch, pictures)
        report = await self._client.report(batch.name)
        _write_report(options, report)
        self._display.stop()
        self._display.say(summary(report, options, retriable=intake.retriable))
        counts = report.batch.progress
        return ExitCode.SOME_FAILED if counts.failed or counts.cancelled else ExitCode.OK

    async def _follow(self, batch: Batch, pictures: PictureFolder) -> None:
        # Each change costs its telling; only --json shows those in between.
        view = WATCH_VIEW_ITEMS if self._job.options.json else WATCH_VIEW_RESULTS
        async for update in self._client.watch(batch.name, view=view):
            self._progress.hear(update)
            if update.items:
                # Before they are told: whoever reads of a picture may open it.
                await asyncio.to_thread(pictures.place, update.items)
            self._display.updated(update)

    async def _write_manifest(self, batch: Batch, pictures: PictureFolder) -> None:
        options = self._job.options
        temporary = options.state_folder / "manifest.csv.tmp"
        variants = [variant.name for variant in batch.recipe.variants]
        try:
            with ManifestWriter(options.out / "manifest.csv", temporary, variants) as manifest:
                async for page in self._client.item_pages(batch.name):
                    await asyncio.to_thread(pictures.place, page)
                    await asyncio.to_thread(manifest.write, page)
        except OSError as error:
            raise _unwritable(options.out / "manifest.csv", error) from error


def _write_report(options: RunOptions, report: BatchReport) -> None:
    temporary = options.state_folder / "report.json.tmp"
    try:
        temporary.write_text(json.dumps(report_record(report), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        temporary.replace(options.out / "report.json")
    except OSError as error:
        raise _unwritable(options.out / "report.json", error) from error


def _unwritable(path: Path, error: OSError) -> CommandError:
    return CommandError(
        f"{path} can't be written: {error.strerror or 'input/output error'}. "
        "Every item is done; once the cause is removed, run the same command again.",
        ExitCode.BROKEN,
    )
