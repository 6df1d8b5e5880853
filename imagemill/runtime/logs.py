"""The log of a process: where it goes, in which form, and how much it tells."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

from imagemill.runtime import traces

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

LARGEST_LOG = 5_000_000
"""Bytes; one older file of that size is kept."""

OURS = ("imagemill", "gateway", "downloader_svc", "processor_svc", "storage_svc")
"""The loggers that may tell more than INFO: those of libraries would drown them."""

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_EXTRA = ("action", "batch", "item")
"""What records may carry beside their text, for programs."""
_LOGGER = logging.getLogger(__name__)
_outlets: list[logging.Handler] = []
"""What the log goes to, as far as it was started here."""


class JsonLines(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`.

    Where there are such: `action`, `batch`, `item`, `trace_id`, `traceback`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in _EXTRA if (value := getattr(record, name, "")) != ""}
        if trace_id := _trace_id(record):
            line["trace_id"] = trace_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """A line for people, with the id of the trace it belongs to where there is one."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the library's name for it
        """Return the line, without a traceback."""
        trace_id = _trace_id(record)
        return super().formatMessage(record) + (f" trace_id={trace_id}" if trace_id else "")


def _trace_id(record: logging.LogRecord) -> str:
    return getattr(record, "trace_id", "") or traces.present_id()


class Seldom:
    """Says when something that happens again and again is worth another line."""

    def __init__(self, every_s: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._told: dict[str, float] = {}

    def is_due(self, text: str) -> bool:
        """Whether a line has not been told for a while; it counts as told then."""
        now = self._clock()
        self._told = {known: at for known, at in self._told.items() if now - at < self._every_s}
        is_new = text not in self._told
        self._told.setdefault(text, now)
        return is_new


def start_logging(path: Path | None, *, to_stderr: bool, level: str = "info", form: str = "text") -> None:
    """Send everything that is logged, warned or lost in threads to `path`, and nothing of it to the terminal.

    With `to_stderr` the log goes there as well. Raises `OSError` when the file can't be written.
    """
    handlers: list[logging.Handler] = []
    if path is not None:
        handlers.append(RotatingFileHandler(path, maxBytes=LARGEST_LOG, backupCount=1, encoding="utf-8"))
    if to_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    formatter = JsonLines() if form == "json" else TextLines()
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(handlers=handlers, force=True)
    _outlets[:] = handlers
    set_level(level)
    logging.captureWarnings(True)
    # A full disk must not fill the terminal with tracebacks of the logging itself.
    logging.raiseExceptions = False
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_failure


def set_level(level: str) -> None:
    """Tell so much from now on: `debug`, `info`, `warning` or `error`."""
    number = logging.getLevelNamesMapping()[level.upper()]
    for outlet in _outlets:
        outlet.setLevel(number)
    # Warnings are always made, for whoever listens for them beside the log.
    logging.getLogger().setLevel(min(max(number, logging.INFO), logging.WARNING))
    for name in OURS:
        logging.getLogger(name).setLevel(min(number, logging.WARNING))


def _log_unraisable(lost: UnraisableHookArgs) -> None:
    _LOGGER.error("An error was lost in clearing up: %r", lost.object, exc_info=lost.exc_value)


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    _LOGGER.error("A thread died: %s", failure.thread, exc_info=failure.exc_value)
