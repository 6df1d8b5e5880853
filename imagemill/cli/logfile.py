"""The mill's log: into a file beside its state, and to standard error when asked for."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

LARGEST_LOG = 5_000_000
"""Bytes; one older file of that size is kept."""

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_LOGGER = logging.getLogger(__name__)


ALARMS = {
    "database_away": "The mill's records can't be written: its disk may be full. It waits, and goes on by itself "
    "once there is room."
}
"""What is worth a line on the terminal, by the action of the log's record."""
ALARM_EVERY_S = 30.0


class Alarms(logging.Handler):
    """Tells the user what the mill waits for, and not each time it tries."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell
        self._told: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of a record that is an alarm, unless it was told of lately."""
        action = getattr(record, "action", "")
        if action in ALARMS and record.created - self._told.get(action, 0.0) >= ALARM_EVERY_S:
            self._told[action] = record.created
            self._tell(ALARMS[action])


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
