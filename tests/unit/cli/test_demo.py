"""The demo cleans up after itself only, and tells whether it went as planned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagemill.cli.demo import MARKER, compare, demo_command
from imagemill.cli.demo_pictures import painter
from imagemill.cli.demo_plan import GOOD, plan
from imagemill.cli.exits import ExitCode
from imagemill.domain.failures import FailureCode


def rows_as_planned() -> list[dict[str, str]]:
    return [
        {
            "state": "FAILED" if line.code else "SUCCEEDED",
            "error_code": line.code,
            "duplicate_of": "0" if line.duplicate else "",
        }
        for line in plan(1)
    ]


def test_the_plan_holds_good_pictures_and_troubles_with_known_codes() -> None:
    lines = plan(8080)

    assert len(lines) == GOOD + 10
    assert [line.code for line in lines if line.code and line.code not in set(FailureCode)] == []
    assert lines[0].text.endswith("/photos/landscape-00")


def test_nothing_in_the_plan_leads_off_this_machine() -> None:
    assert [line.text for line in plan(8080) if "://" in line.text and "://127.0.0." not in line.text] == []


def test_a_run_as_planned_holds_no_surprise() -> None:
    assert compare(plan(1), rows_as_planned()) == []


def test_a_line_that_ended_otherwise_is_named() -> None:
    rows = rows_as_planned()
    rows[0] |= {"state": "FAILED", "error_code": "DECODE_FAILED"}

    assert compare(plan(1), rows) == ["http://127.0.0.1:1/photos/landscape-00 ended as FAILED DECODE_FAILED"]


def test_a_missing_row_is_a_surprise() -> None:
    assert compare(plan(1), rows_as_planned()[1:]) == ["the manifest has 59 rows instead of 60"]


def test_a_folder_with_somebodys_files_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("precious")

    assert demo_command(tmp_path) is ExitCode.USAGE

    assert (tmp_path / "thesis.txt").read_text() == "precious"
    assert "no demo made" in capsys.readouterr().err


def test_a_marker_can_name_nothing_outside_its_folder(tmp_path: Path) -> None:
    from imagemill.cli.demo import _clear

    precious, folder = tmp_path / "precious", tmp_path / "demo"
    precious.write_text("precious")
    folder.mkdir()
    (folder / "mine.jpg").write_text("mine")
    (folder / "000000-old.jpg").write_text("old")
    (folder / MARKER).write_text(json.dumps({"files": ["../precious", str(precious), "000000-old.jpg"]}))

    _clear(folder)

    assert precious.exists()
    assert sorted(path.name for path in folder.iterdir()) == [MARKER, "mine.jpg"]


def test_the_pictures_are_of_several_formats_and_the_same_each_time() -> None:
    starts = {painter(number)()[:3] for number in (0, 4, 7, 9)}

    assert starts == {b"\xff\xd8\xff", b"\x89PN", b"RIF", b"GIF"}
    assert painter(3)() == painter(3)()
