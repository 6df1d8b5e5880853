"""What is shown where there is little room, no colour, or not every character."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest
from rich.console import Console, RenderableType

from imagemill.cli import printing
from imagemill.cli.live_display import drawing
from imagemill.cli.output import PLAIN
from imagemill.cli.overview import overview
from imagemill.cli.printing import Column, print_table
from imagemill.cli.progress import RunProgress
from imagemill.v1.batch_pb2 import Batch, Failure, Item, Progress

URL = "https://pictures.test/" + "deep/" * 100 + "red-boat.jpg"
COLUMNS = (Column("BATCH"), Column("NAME", fold=True), Column("STATE"), Column("MEANING", fold=True))
ROW = ["urls-3f9a1c22d01b", "spring", "active", "a sentence that may be broken wherever there is a blank in it"]


def drawn(shown: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return capture.get().splitlines()


def failing() -> RunProgress:
    failure = Failure(code="SOURCE_NOT_FOUND", message="The server has nothing at this URL; correct it.")
    item = Item(index=7, source=URL, state=Item.STATE_FAILED, failure=failure)
    progress = RunProgress(expected=9)
    progress.batch = Batch(progress=Progress(total=9, failed=1, pending=8))
    progress.failures.append(item)
    return progress


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_failures_of_a_run_show_code_and_the_end_of_the_url_at_any_width(width: int) -> None:
    lines = drawn(drawing(failing()), width)

    assert max(map(len, lines)) <= width
    assert "000007  SOURCE_NOT_FOUND" in lines[-1]
    assert "boat.jpg" in lines[-1]
    assert ("The server" in lines[-1]) == (width >= 80)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_all_batches_are_told_apart_at_any_width(width: int) -> None:
    counts = Progress(total=61, succeeded=20, failed=10, items_per_second=4.0)
    batches = [Batch(name=f"batches/{name}", state=Batch.STATE_ACTIVE, progress=counts) for name in ("spring", "fall")]

    lines = drawn(overview(batches, []), width)

    assert max(map(len, lines)) <= width
    for name, line in zip(("spring", "fall"), lines, strict=False):
        assert line.startswith(name)
        assert "30/61" in line
        assert "10 failed" in line


@pytest.fixture
def on_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[int, list[list[str]]], str]:
    """Prints a table to a terminal of a width, and gives what is seen."""

    def show(width: int, rows: list[list[str]]) -> str:
        def terminal(**given: object) -> Console:
            return Console(file=sys.stdout, highlight=False, force_terminal=True, color_system=None, width=width)

        monkeypatch.setattr(printing, "Console", terminal)
        print_table(COLUMNS, rows)
        return capsys.readouterr().out

    return show


def test_a_table_on_a_terminal_is_as_wide_as_that(on_terminal: Callable[[int, list[list[str]]], str]) -> None:
    lines = on_terminal(80, [ROW]).splitlines()

    assert lines[0].split() == ["BATCH", "NAME", "STATE", "MEANING"]
    assert lines[1].startswith("urls-3f9a1c22d01b  spring  active  a sentence")
    assert max(map(len, lines)) <= 80


def test_a_table_on_a_narrow_terminal_is_blocks_of_lines_and_loses_nothing(
    on_terminal: Callable[[int, list[list[str]]], str],
) -> None:
    other = ["fall", "", "paused", ""]

    assert on_terminal(40, [ROW, other]).splitlines() == [
        "BATCH    urls-3f9a1c22d01b",
        "NAME     spring",
        "STATE    active",
        "MEANING  a sentence that may be broken wherever there is a blank in it",
        "",
        "BATCH    fall",
        "STATE    paused",
    ]


def test_what_an_encoding_lacks_is_written_as_its_like() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=PLAIN)

    stream.write("4 of 9 done · Stopping… ━━╸ café\n")
    stream.flush()

    assert isinstance(stream.buffer, io.BytesIO)
    assert stream.buffer.getvalue() == b"4 of 9 done - Stopping. --- caf?\n"
