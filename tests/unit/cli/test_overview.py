"""All batches at a glance."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from imagemill.cli.overview import ROWS, LiveOverview, overview
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import BatchUpdate
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


def test_a_batch_whose_failures_are_tried_again_has_one_row() -> None:
    live = LiveOverview()
    rows = []
    for kind, state in [
        (BatchUpdate.KIND_END, Batch.STATE_COMPLETED),
        (BatchUpdate.KIND_CHANGE, Batch.STATE_ACTIVE),
        (BatchUpdate.KIND_CHANGE, Batch.STATE_COMPLETED),
        (BatchUpdate.KIND_END, Batch.STATE_COMPLETED),
    ]:
        live.updated(BatchUpdate(kind=kind, batch=batch("a", state)))
        rows.append(len(live._working) + len(live._ended))

    assert rows == [1, 1, 0, 1]
