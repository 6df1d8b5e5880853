"""A service as a process of its own: settings, log, signals, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from imagemill import __version__
from imagemill.ports.unavailable import UrlUnusable
from imagemill.runtime.exposition import MetricsUnexposed, exposed
from imagemill.runtime.logs import set_level, start_logging
from imagemill.runtime.memory import collect_garbage, share_heaps
from imagemill.runtime.serving import AddressTaken
from imagemill.runtime.traces import TracesUnsent, traced
from imagemill.settings.groups import Logging
from imagemill.settings.live import LiveSettings
from imagemill.settings.loading import Sources, load
from imagemill.settings.problems import SettingsError

GroupT = TypeVar("GroupT", bound=Logging)

Work = Callable[[LiveSettings[GroupT], asyncio.Event], Awaitable[None]]
"""A service's work: opens its parts and serves until the event is set."""

OK, USAGE, BROKEN = 0, 2, 70
"""Exit codes: stopped in good order; can't be started as told; can't go on (EX_SOFTWARE of sysexits.h)."""
CLOSING_S = 15.0
"""How long everything may take to be closed after the grace, in seconds; a process that hangs is ended then."""
MOST_FILES = 65_536
"""Open files asked for, where the machine allows more."""

log = logging.getLogger(__name__)


def main(name: str, group: type[GroupT], work: Work[GroupT]) -> int:
    """Run a service by the settings of its environment, and return its exit code; for `python -m`."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        return run(name, group, work)
    except SettingsError as error:
        for problem in error.problems:
            sys.stderr.write(f"{name}: {problem}\n")
        return USAGE


def run(name: str, group: type[GroupT], work: Work[GroupT], sources: Sources | None = None) -> int:
    """Run a service until it is stopped, and return its exit code.

    SIGTERM or SIGINT stops it in good order; the second one ends it on the spot. A part that is away is awaited.

    Raises:
        SettingsError: it can't be started as told.
    """
    settings = LiveSettings(load(group, sources))
    told = settings.values.value
    try:
        start_logging(told.log_file, to_stderr=told.log_file is None, level=told.log_level, form=told.log_format)
    except OSError as error:
        raise SettingsError([f"log_file {told.log_file}: it can't be written: {error.strerror}."]) from error
    _allow_files()
    share_heaps()
    collect_garbage()
    log.info("%s %s starts.", name, __version__, extra={"action": "process_starts"})
    try:
        with (
            settings.values.followed_by(lambda changed: set_level(changed.log_level)),
            exposed(told.metrics_listen, [name.split()[-1]]),
            traced(told.trace_sample, name.split()[-1]),
        ):
            asyncio.run(_until_stopped(work, settings))
    except (MetricsUnexposed, TracesUnsent) as error:
        raise SettingsError([str(error)]) from error
    except AddressTaken as error:
        raise SettingsError([f"{error}; something else may listen there. Set IMAGEMILL_LISTEN to another."]) from error
    except UrlUnusable as error:
        raise SettingsError([str(error)]) from error
    except Exception:
        log.exception("%s could not go on.", name, extra={"action": "process_broken"})
        return BROKEN
    log.info("%s has stopped in good order.", name, extra={"action": "process_stopped"})
    return OK


async def _until_stopped(work: Work[GroupT], settings: LiveSettings[GroupT]) -> None:
    stop = asyncio.Event()
    grace_s: float = getattr(settings.values.value, "grace_s", 0.0)

    def hear(number: signal.Signals) -> None:
        if stop.is_set():
            _end_now(128 + number)
        log.info("Stopping, because of %s.", number.name, extra={"action": "process_stopping"})
        stop.set()
        # A thread of its own: the event loop may be what hangs.
        last_resort = threading.Timer(grace_s + CLOSING_S, _give_up)
        last_resort.daemon = True
        last_resort.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, hear, number)
    await work(settings, stop)


def _give_up() -> None:
    log.error("The process hangs while it stops; it is ended. What it had in hand is done again.")
    _end_now(BROKEN)


def _end_now(code: int) -> None:
    logging.shutdown()
    os._exit(code)


def _allow_files() -> None:
    """Let the process open as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wished:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
