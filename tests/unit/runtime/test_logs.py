"""The log: where it goes, in which form, and how much it tells."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagemill.runtime.logs import OURS, Seldom, set_level, start_logging


@pytest.fixture(autouse=True)
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the test's process back the logging that it had."""
    root = logging.getLogger()
    for holder, name in ((logging, "raiseExceptions"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(holder, name, getattr(holder, name))
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(False)


def speak() -> None:
    for name in ("imagemill.runtime", "aiohttp"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger(name).log(level, "word")


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", ["DEBUG ours", "INFO ours", "WARNING ours", "ERROR ours", "INFO", "WARNING", "ERROR"]),
        ("info", ["INFO ours", "WARNING ours", "ERROR ours", "INFO", "WARNING", "ERROR"]),
        ("warning", ["WARNING ours", "ERROR ours", "WARNING", "ERROR"]),
        ("error", ["ERROR ours", "ERROR"]),
    ],
)
def test_a_level_holds_for_us_and_libraries_tell_no_more_than_info(tmp_path: Path, level: str, told: list[str]) -> None:
    path = tmp_path / "mill.log"
    start_logging(path, to_stderr=False)

    set_level(level)
    speak()

    lines = [line.split()[2:4] for line in path.read_text().splitlines()]
    assert [f"{word} ours" if name.startswith("imagemill") else word for word, name in lines] == told


def test_who_listens_for_warnings_hears_them_whatever_the_log_tells(tmp_path: Path) -> None:
    heard = list[str]()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.levelname)

    start_logging(tmp_path / "mill.log", to_stderr=False, level="error")
    logging.getLogger().addHandler(Listener())
    speak()

    assert heard == ["WARNING", "ERROR"] * 2


def test_json_lines_hold_what_programs_look_for(tmp_path: Path) -> None:
    path = tmp_path / "mill.log"
    start_logging(path, to_stderr=False, form="json")

    logging.getLogger("imagemill.x").warning("Ein %s\nmehr", "Wört", extra={"action": "told"})
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("imagemill.x").exception("Lost.")

    first, second = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {"level": "warning", "logger": "imagemill.x", "message": "Ein Wört\nmehr", "action": "told"}
    assert second["traceback"].endswith("ValueError: broken")


def test_the_log_goes_to_standard_error_when_there_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(None, to_stderr=True)

    logging.getLogger("imagemill").info("Here.")

    assert capsys.readouterr().err.endswith("INFO imagemill Here.\n")


def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        start_logging(tmp_path / "nowhere" / "mill.log", to_stderr=False)


def test_what_happens_again_and_again_is_told_seldom_and_what_is_new_at_once() -> None:
    now = 100.0
    seldom = Seldom(30.0, lambda: now)
    assert [seldom.is_due(text) for text in ("a", "b", "a", "b")] == [True, True, False, False]

    now = 131.0
    assert [seldom.is_due(text) for text in ("a", "a")] == [True, False]
