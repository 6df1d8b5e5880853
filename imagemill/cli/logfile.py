"""The mill's log: into a file beside its state, and to standard error when asked for."""

from __future__ import annotations

import logging
import sys
import threading
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

LARGEST_LOG = 5_000_000
"""Bytes; one older file of that size is kept."""

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_LOGGER = logging.getLogger(__name__)


def start_logging(path: Path, *, to_stderr: bool) -> None:
    """Send everything that is logged, warned or lost in threads to `path`, and nothing of it to the terminal.

    With `to_stderr` the log goes there as well.
    """
    handlers: list[logging.Handler] = [
        RotatingFileHandler(path, maxBytes=LARGEST_LOG, backupCount=1, encoding="utf-8", delay=True)
    ]
    if to_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=handlers, force=True)
    logging.captureWarnings(True)
    # A full disk must not fill the terminal with tracebacks of the logging itself.
    logging.raiseExceptions = False
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_failure


def _log_unraisable(lost: UnraisableHookArgs) -> None:
    _LOGGER.error("An error was lost in clearing up: %r", lost.object, exc_info=lost.exc_value)


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    _LOGGER.error("A thread died: %s", failure.thread, exc_info=failure.exc_value)
