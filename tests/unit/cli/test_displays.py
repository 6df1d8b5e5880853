"""What the displays say of a run."""

from __future__ import annotations

import io
import json
import time

import pytest
from google.protobuf.duration_pb2 import Duration
from rich.console import Console

from imagemill.cli import display
from imagemill.cli.display import JsonDisplay, PlainDisplay, kept_talking, progress_line
from imagemill.cli.exits import ExitCode
from imagemill.cli.live_display import drawing
from imagemill.cli.progress import FAILURES_SHOWN, RunProgress, duration_text, readable
from imagemill.v1.batch_pb2 import Batch, Failure, Item, Progress
from imagemill.v1.batch_service_pb2 import BatchUpdate
from tests.support.eventually import eventually


def running() -> RunProgress:
    counts = Progress(
        total=4000, pending=2796, succeeded=1192, failed=12, items_per_second=81.23, eta=Duration(seconds=47)
    )
    return RunProgress(expected=4000, batch=Batch(name="batches/b", state=Batch.STATE_ACTIVE, progress=counts))


def failed(index: int) -> Item:
    failure = Failure(code="SOURCE_NOT_FOUND", message="It is gone.")
    return Item(index=index, source=f"http://example.com/{index}.jpg", state=Item.STATE_FAILED, failure=failure)


def shown(progress: RunProgress, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, record=True)
    console.print(drawing(progress))
    return console.export_text()


def test_a_line_says_how_far_how_fast_and_how_long() -> None:
    assert progress_line(running()) == "1,204 of 4,000 done (30 %) · 81.2/s · about 47 s left · 12 failed"


def test_a_finished_batch_has_no_rate_and_no_time_left() -> None:
    progress = running()
    progress.batch.progress.succeeded, progress.batch.progress.pending = 3988, 0

    assert progress_line(progress) == "4,000 of 4,000 done (100 %) · 12 failed"


def test_plain_lines_come_when_due_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now, out = [0.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    plain = PlainDisplay(out)
    plain.start(running())

    for now[0] in (1.0, 4.9, 5.1, 5.2, 9.9, 10.2):
        plain.updated(BatchUpdate(kind=BatchUpdate.KIND_HEARTBEAT))
    plain.updated(BatchUpdate(kind=BatchUpdate.KIND_END))

    assert len(out.getvalue().splitlines()) == 3


async def test_a_run_in_which_nothing_changes_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "LINE_EVERY_S", 0.001)
    out = io.StringIO()
    plain = PlainDisplay(out)
    plain.start(running())

    async with kept_talking(plain):
        await eventually(lambda: len(out.getvalue().splitlines()) >= 3)

    assert set(out.getvalue().splitlines()) == {progress_line(running())}


def test_json_lines_hold_one_object_per_change() -> None:
    out = io.StringIO()
    lines = JsonDisplay(out)
    lines.start(running())

    lines.updated(BatchUpdate(kind=BatchUpdate.KIND_CHANGE, batch=running().batch, items=[failed(7)]))
    lines.say("not for programs")
    lines.end(ExitCode.USAGE, "wrong")

    item, batch, end = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (item["type"], item["index"], item["state"], item["error_code"]) == ("item", 7, "FAILED", "SOURCE_NOT_FOUND")
    assert (batch["type"], batch["state"], batch["counts"]["failed"], batch["eta_s"]) == ("batch", "ACTIVE", 12, 47.0)
    assert end == {"type": "end", "exit_code": 2, "error": "wrong"}


@pytest.mark.parametrize("width", [72, 80, 160])
def test_the_drawing_never_shortens_what_identifies_a_failure(width: int) -> None:
    progress = running()
    progress.hear(BatchUpdate(items=[failed(7)]))

    drawn = shown(progress, width)

    assert "000007  SOURCE_NOT_FOUND" in drawn
    assert "succeeded 1,192" in drawn
    assert "1,204/4,000  30 %  81.2/s  47 s left" in drawn
    assert max(map(len, drawn.splitlines())) <= width


def test_a_narrow_drawing_keeps_the_end_of_a_url() -> None:
    progress = running()
    progress.hear(BatchUpdate(items=[failed(7)]))

    drawn = shown(progress, 60)

    assert "7.jpg" in drawn
    assert "rendering 0\nsucceeded 1,192   failed 12" in "\n".join(map(str.rstrip, drawn.splitlines()))
    assert max(map(len, drawn.splitlines())) <= 60


def test_before_the_list_is_received_the_drawing_shows_the_reading() -> None:
    assert "reading the list: 23,000 of 100,000" in shown(RunProgress(expected=100_000, sent=23_000), 80)


def test_only_the_last_failures_are_kept() -> None:
    progress = running()
    progress.hear(BatchUpdate(items=[failed(index) for index in range(20)]))

    assert [item.index for item in progress.failures] == list(range(20 - FAILURES_SHOWN, 20))


@pytest.mark.parametrize("text", ["http://a/\x1b]0;owned\x07", "two\nlines", "\x9b31m", "right\u202eleft"])
def test_foreign_text_cannot_steer_the_terminal(text: str) -> None:
    assert readable(text, 200).isprintable()


def test_long_text_is_shortened_with_a_mark() -> None:
    assert readable("x" * 50, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (47, "47 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (-1, "0 s")]
)
def test_durations_read_like_speech(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
