"""`imagemill run`: a list in, pictures and a manifest out, in one go or in as many as it takes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, closing
from pathlib import Path

from imagemill.cli.batch_folder import BatchFolder
from imagemill.cli.display import Display, kept_talking, open_display
from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.intake import FINAL, Intake, Job
from imagemill.cli.interrupts import interruptible
from imagemill.cli.logfile import Alarms, start_log
from imagemill.cli.mill import Mill, MillOpener, alongside, open_embedded
from imagemill.cli.options import RunOptions
from imagemill.cli.output import tell_error
from imagemill.cli.output_folder import prepared_folder
from imagemill.cli.progress import RunProgress
from imagemill.cli.recipe_files import RecipeFileError, load_recipe
from imagemill.cli.resources import resources_used
from imagemill.cli.sources import open_sources, survey
from imagemill.cli.summary import interrupted, summary
from imagemill.client import MillClient, MillError
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import WATCH_VIEW_ITEMS, WATCH_VIEW_RESULTS

_LOGGER = logging.getLogger(__name__)
_IF_GONE = (
    "If files were deleted from .imagemill, delete that whole folder and run the same command again to start over."
)


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
    return options.values.log_file or options.state_folder / "mill.log"


def _run(options: RunOptions, opener: MillOpener, display: Display) -> ExitCode:
    options.check()
    try:
        recipe = load_recipe(options.values.recipe)
    except RecipeFileError as error:
        raise CommandError(str(error)) from error
    opened = open_sources(options.sources, lambda: prepared_folder(options), start_at=options.start_at)
    with closing(opened) as sources:
        job = Job(options, recipe, sources, survey(sources))
        prepared_folder(options)
        start_log(log_path(options), options.values, to_stderr=options.verbose)
        logging.getLogger().addHandler(Alarms(display.say))
        return asyncio.run(_interruptible(job, opener, display))


async def _interruptible(job: Job, opener: MillOpener, display: Display) -> ExitCode:
    progress = RunProgress(expected=job.survey.lines)

    def stopping() -> None:
        display.stop()
        display.say("Stopping…")

    work = _in_mill(job, opener, display, progress)
    return await interruptible(work, stopping, lambda: interrupted(progress.done, progress.total))


async def _in_mill(job: Job, opener: MillOpener, display: Display, progress: RunProgress) -> ExitCode:
    problem: CommandError | MillError
    async with opener(job.options) as mill:
        try:
            async with MillClient(mill.target) as client:
                return await alongside(mill.failed, Run(job, mill, client, display, progress).finish())
        except (CommandError, MillError) as error:
            # Raised only outside, so that it does not look like a failure of the mill.
            problem = error
    raise problem if isinstance(problem, CommandError) else _refused(problem, job.options)


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
        folder = BatchFolder(options.out, options.state_folder, self._mill.blob_path, batch, if_gone=_IF_GONE)
        # A program that reads the changes gets those of a finished batch, too.
        if batch.state not in FINAL or options.json:
            await self._follow(batch, folder)
        used = resources_used()
        report = await folder.complete(self._client, {"run": used.record() if used else None})
        self._display.stop()
        self._display.say(summary(report, options, retriable=intake.retriable))
        counts = report.batch.progress
        return ExitCode.SOME_FAILED if counts.failed or counts.cancelled else ExitCode.OK

    async def _follow(self, batch: Batch, folder: BatchFolder) -> None:
        # Each change costs its telling; only --json shows those in between.
        view = WATCH_VIEW_ITEMS if self._job.options.json else WATCH_VIEW_RESULTS
        async with kept_talking(self._display), aclosing(self._client.watch(batch.name, view=view)) as updates:
            async for update in updates:
                self._progress.hear(update)
                if update.items:
                    # Before they are told: whoever reads of a picture may open it.
                    await folder.place(update.items)
                self._display.updated(update)
