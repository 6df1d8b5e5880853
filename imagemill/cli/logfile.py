"""The mill's log: into a file beside its state, and to standard error when asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from imagemill.cli.exits import CommandError
from imagemill.runtime.logs import start_logging
from imagemill.settings.groups import Logging

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


def start_log(path: Path, settings: Logging, *, to_stderr: bool) -> None:
    """Begin the mill's log, at `path` and with `to_stderr` on standard error as well.

    Raises:
        CommandError: the file can't be written.
    """
    try:
        start_logging(path, to_stderr=to_stderr, level=settings.log_level, form=settings.log_format)
    except OSError as error:
        raise CommandError(
            f"The log {path} can't be written: {error.strerror}; name another with --log-file."
        ) from error
