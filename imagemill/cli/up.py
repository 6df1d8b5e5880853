"""`imagemill up`: the whole mill as a server, until it is stopped."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import time
from typing import NoReturn

from imagemill import __version__
from imagemill.cli.bulletin import Bulletin
from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.gallery import Gallery
from imagemill.cli.interrupts import interruptible
from imagemill.cli.logfile import Alarms, start_log
from imagemill.cli.mill import ServingMill, alongside, open_server
from imagemill.cli.options import UpOptions
from imagemill.cli.output import tell, tell_error
from imagemill.client import MillClient
from imagemill.settings.groups import DEFAULT_TARGET

log = logging.getLogger(__name__)


def up_command(options: UpOptions) -> ExitCode:
    """Do what `imagemill up` is asked to do, and say how it ended: nothing is raised, nothing is left running."""
    try:
        return _up(options)
    except CommandError as error:
        code, message = error.code, error.message
    except KeyboardInterrupt:
        code, message = ExitCode.INTERRUPTED, "Stopped."
    except Exception:
        log.exception("The mill could not go on.")
        code = ExitCode.BROKEN
        message = (
            f"Something went wrong in the mill itself; {options.log} says what. Nothing that was finished is lost: "
            "start it again to go on."
        )
    tell_error(message)
    return code


def _up(options: UpOptions) -> ExitCode:
    options.check()
    _prepare(options)
    start_log(options.log, options.settings.values, to_stderr=options.verbose)

    def say(text: str) -> None:
        if not options.quiet:
            tell(f"{time.strftime('%H:%M:%S')}  {text}")

    logging.getLogger().addHandler(Alarms(say))
    bulletin = Bulletin(say)
    return asyncio.run(
        interruptible(_serve(options, bulletin), lambda: say("Stopping…"), lambda: _stopped(bulletin.unfinished))
    )


def _prepare(options: UpOptions) -> None:
    try:
        for folder in (options.data, options.state_folder, options.pictures):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--data {options.data} can't be used as a folder: {error.strerror}.") from error


async def _serve(options: UpOptions, bulletin: Bulletin) -> NoReturn:
    async with open_server(options) as mill:
        if not options.quiet:
            tell(_banner(options, mill))
        if not _is_local(mill.target):
            tell_error(
                f"Whoever reaches {mill.target} may use this mill: it asks for no password, and encrypts nothing. "
                "Keep the address behind a firewall, or listen on 127.0.0.1."
            )
        async with MillClient(mill.store_target, patience_s=math.inf) as client:
            gallery = Gallery(options.pictures, options.state_folder, mill.blob_path, client, bulletin)
            await alongside(mill.failed, gallery.keep())


def _banner(options: UpOptions, mill: ServingMill) -> str:
    to = "" if mill.target == DEFAULT_TARGET else f" --to {mill.target}"
    return "\n".join(
        [
            f"Imagemill {__version__} is up at {mill.target}.",
            f"  Data:      {options.data}",
            f"  Pictures:  {options.pictures}/BATCH",
            f"  Log:       {options.log}",
            f"Hand a list in with: imagemill submit urls.txt --watch{to}",
            "Ctrl-C stops the mill; what is unfinished goes on at its next start.",
        ]
    )


def _is_local(target: str) -> bool:
    if target.startswith("unix:"):
        return True
    host = target.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _stopped(unfinished: int) -> str:
    if not unfinished:
        # A batch may have come in a moment ago.
        return "Stopped. No batch at work is known of; if one has just come in, it goes on at the next start."
    noun = "batch is" if unfinished == 1 else "batches are"
    verb = "goes" if unfinished == 1 else "go"
    return f"Stopped. {unfinished:,} {noun} unfinished and {verb} on at the next start."
