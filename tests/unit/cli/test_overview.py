"""All batches at a glance."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from imagemill.cli.overview import ROWS, overview
from imagemill.v1.batch_pb2 import Batch
from tests.unit.cli.test_bulletin import batch


def shown(working: list[Batch], ended: list[Batch], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, record=True)
    console.print(overview(working, ended))
    return console.export_text()


@pytest.mark.parametrize("width", [60, 80, 160])
def test_each_batch_has_a_row_and_all_together_a_line(width: int) -> None:
    working = [batch("a", done=50, rate=2.0), batch("b", total=1000, failed=3)]

    drawn = shown(working, [batch("c", Batch.STATE_COMPLETED, done=100)], width)

    assert [line.split()[0] for line in drawn.splitlines()] == ["c", "a", "b", "2"]
    assert "50/100" in drawn
    assert "3 failed" in drawn
    assert max(map(len, drawn.splitlines())) <= width


def test_more_batches_than_a_screen_holds_are_counted_not_drawn() -> None:
    drawn = shown([batch(f"b{n}") for n in range(100)], [])

    assert len(drawn.splitlines()) == ROWS + 1
    assert "100 batches" in drawn


def test_a_mill_without_work_says_so() -> None:
    assert "No batch is at work." in shown([], [])
