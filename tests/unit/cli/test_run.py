"""`imagemill run` against a mill with scripted outcomes: what lies in the folder, what is said, how it ends."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from imagemill.cli.exits import ExitCode
from imagemill.cli.mill import Mill
from imagemill.cli.options import RunOptions
from imagemill.cli.run import run_command
from imagemill.cli.setting_options import asked
from imagemill.domain.presets import PRESETS
from imagemill.settings.declaring import settings_of
from imagemill.settings.groups import RunSettings
from imagemill.settings.loading import Sources
from imagemill.v1.batch_pb2 import Batch, Item
from tests.unit.client.fake_mill import FakeMill, fail, serving

URLS = [f"http://example.com/{name}.jpg" for name in ("boat", "tree", "house")]


class Bench:
    """An output folder, a list, and the fake mill whose batches outlive its runs."""

    def __init__(self, tmp_path: Path) -> None:
        self.out = tmp_path / "out"
        self.list = tmp_path / "urls.txt"
        self.list.write_text("\n".join(URLS))
        self.batches: dict[str, Batch] = {}
        self.items: dict[str, list[Item]] = {}
        self.prepare: Callable[[FakeMill], None] = lambda mill: None
        self.watches = 0
        self.chunks: list[int] = []
        self._sockets = tmp_path / "mill"
        self._sockets.mkdir()

    def opener(self, options: RunOptions) -> AbstractAsyncContextManager[Mill]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Mill]:
        async with serving(self._sockets, self._remember) as mill:
            yield mill
            self.watches += len(mill.watches)
            self.chunks += mill.chunks

    def _remember(self, mill: FakeMill) -> None:
        mill.batches, mill.items = self.batches, self.items
        mill.fingerprint = PRESETS["dataset-256"].fingerprint()
        self.prepare(mill)

    def run(self, **options: Any) -> ExitCode:
        chosen: dict[str, Any] = {"sources": (str(self.list),), "out": self.out, "recipe": "dataset-256"} | options
        said = [asked(name, chosen.pop(name)) for name in settings_of(RunSettings) if name in chosen]
        return run_command(RunOptions(told=Sources(tuple(said), environ={}, folder=None), **chosen), self.opener)

    def rows(self) -> list[dict[str, str]]:
        with (self.out / "manifest.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def pictures(self) -> list[str]:
        return sorted(name for name in os.listdir(self.out) if name.endswith(".jpg"))


@pytest.fixture(autouse=True)
def _own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root, hooks = logging.getLogger(), (sys.unraisablehook, threading.excepthook)
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.raiseExceptions = True
    sys.unraisablehook, threading.excepthook = hooks


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_list_becomes_pictures_a_manifest_and_a_report(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run() is ExitCode.OK

    assert bench.pictures() == ["000000-boat-fit-256.jpg", "000001-tree-fit-256.jpg", "000002-house-fit-256.jpg"]
    assert [(row["source"], row["state"]) for row in bench.rows()] == [(url, "SUCCEEDED") for url in URLS]
    assert [row["fit-256"] for row in bench.rows()] == bench.pictures()
    assert json.loads((bench.out / "report.json").read_text())["counts"]["succeeded"] == 3
    assert "3 items: 3 succeeded." in capsys.readouterr().out


def test_a_failed_item_is_told_with_advice_and_ends_with_1(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.prepare = lambda mill: mill.outcomes.update({URLS[1]: fail()})

    assert bench.run() is ExitCode.SOME_FAILED

    assert [row["error_code"] for row in bench.rows()] == ["", "SOURCE_NOT_FOUND", ""]
    out = capsys.readouterr().out
    assert "3 items: 2 succeeded, 1 failed." in out
    assert "1  SOURCE_NOT_FOUND  the picture is not there any more" in out


def test_the_same_command_again_fetches_nothing_and_rebuilds_what_was_deleted(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.run()
    for name in (*bench.pictures()[:1], "manifest.csv"):
        (bench.out / name).unlink()
    watches = bench.watches

    assert bench.run() is ExitCode.OK

    assert bench.watches == watches
    assert len(bench.pictures()) == len(bench.rows()) == 3
    assert "done already" in capsys.readouterr().out


def test_a_batch_that_was_half_received_is_handed_in_again(bench: Bench) -> None:
    bench.run()
    (batch,) = bench.batches.values()
    batch.state = Batch.STATE_RECEIVING

    assert bench.run() is ExitCode.OK

    assert bench.chunks == [3, 3]


def test_a_paused_batch_goes_on(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run()
    (batch,) = bench.batches.values()
    batch.state = Batch.STATE_PAUSED
    batch.progress.pending, batch.progress.succeeded = 1, 2

    assert bench.run() is ExitCode.OK

    assert "Going on: 2 of 3" in capsys.readouterr().out


def test_a_changed_list_is_refused_with_what_changed(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run()
    bench.list.write_text("http://example.com/other.jpg")

    assert bench.run() is ExitCode.USAGE

    said = capsys.readouterr().err
    assert "the list has changed" in said
    assert "with 3 entries, now" in said
    assert f"delete {bench.out / '.imagemill'} to start over" in said
    assert "recipe" not in said


def test_a_changed_recipe_is_refused_with_what_changed(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run()

    assert bench.run(recipe="half") is ExitCode.USAGE

    said = capsys.readouterr().err
    assert "the recipe has changed (now half)" in said
    assert "the list has changed" not in said


def test_json_lines_tell_every_change_and_the_end_and_nothing_else(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.prepare = lambda mill: mill.outcomes.update({URLS[1]: fail()})

    bench.run(json=True)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    finals = {line["index"]: line["state"] for line in lines if line["type"] == "item"}
    assert finals == {0: "SUCCEEDED", 1: "FAILED", 2: "SUCCEEDED"}
    assert [line for line in lines if line["type"] == "batch"][-1]["counts"]["failed"] == 1
    assert lines[-1] == {"type": "end", "exit_code": 1}


def test_json_lines_name_the_pictures_that_lie_in_the_folder(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run(json=True)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    paths = {render["path"] for line in lines if line["type"] == "item" for render in line.get("renders", [])}
    assert sorted(paths) == bench.pictures()


def test_a_picture_lies_there_when_its_path_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told, missing = list[str](), list[str]()

    class Reader(io.StringIO):
        def write(self, text: str) -> int:
            for line in map(json.loads, text.splitlines()):
                told.extend(render["path"] for render in line.get("renders", []))
            missing.extend(path for path in told if not (bench.out / path).is_file())
            return len(text)

    monkeypatch.setattr(sys, "stdout", Reader())
    bench.run(json=True)

    assert sorted(told) == bench.pictures()
    assert missing == []


def test_a_finished_run_repeated_tells_its_items_again_as_json(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.prepare = lambda mill: mill.outcomes.update({URLS[1]: fail()})
    bench.run()
    capsys.readouterr()

    bench.run(json=True)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    finals = {line["index"]: line["state"] for line in lines if line["type"] == "item"}
    assert finals == {0: "SUCCEEDED", 1: "FAILED", 2: "SUCCEEDED"}
    assert {line["type"] for line in lines[:-1]} == {"item", "batch"}
    assert lines[-1] == {"type": "end", "exit_code": 1}


@pytest.mark.parametrize("name", ["manifest.csv", "report.json"])
def test_a_first_run_never_overwrites_a_file_of_the_user(
    bench: Bench, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    bench.out.mkdir()
    (bench.out / name).write_text("precious")

    for _ in range(2):
        assert bench.run() is ExitCode.USAGE

    assert [path.name for path in bench.out.iterdir()] == [name]
    assert (bench.out / name).read_text() == "precious"
    said = capsys.readouterr().err
    assert f"{bench.out / name} was not made by imagemill" in said
    assert "move it away" in said


def test_a_run_after_the_state_was_deleted_replaces_our_own_manifest_and_report(bench: Bench) -> None:
    bench.run()
    shutil.rmtree(bench.out / ".imagemill")
    bench.batches.clear()

    assert bench.run() is ExitCode.OK


def test_a_run_that_found_nothing_to_retry_does_not_advise_it(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.prepare = lambda mill: mill.outcomes.update({URLS[1]: fail()})
    bench.run()
    assert "--retry-failed" in capsys.readouterr().out

    bench.run(retry_failed=True)

    said = capsys.readouterr().out
    assert "Nothing that failed can be tried again." in said
    assert "--retry-failed" not in said


def test_quiet_says_nothing_of_a_run_that_goes_well(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run(quiet=True)

    assert capsys.readouterr() == ("", "")


def test_a_command_that_is_wrong_still_ends_its_json(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run(json=True, downloads=0) is ExitCode.USAGE

    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "type": "end",
        "exit_code": 2,
        "error": said.err.removeprefix("imagemill: ").strip(),
    }
    assert "--downloads 0" in said.err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"timeout_s": 0}, "--timeout 0: seconds for one download; give a number from 1 to 3,600."),
        ({"retries": -1}, "--retries -1"),
        ({"children": 0}, "--children 0"),
        ({"per_host": 0}, "--per-host 0: connections to one host; give a number from 1 to 1,000."),
        ({"allow_nets": ("10.0.0.1/8",)}, "10.0.0.0/8 is likely meant"),
        ({"allow_nets": ("lan",)}, "--allow-net lan: this is no network"),
        ({"recipe": "standart"}, "standard"),
        ({"sources": ("--resume", "urls.txt")}, "Unknown option --resume"),
        ({"sources": ("nowhere.txt",)}, "There is no file nowhere.txt"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(
    bench: Bench, capsys: pytest.CaptureFixture[str], options: dict[str, object], complaint: str
) -> None:
    assert bench.run(**options) is ExitCode.USAGE

    assert complaint in capsys.readouterr().err
    assert not bench.out.exists()


def test_an_output_folder_that_is_a_file_is_refused(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.out.write_text("")

    assert bench.run() is ExitCode.USAGE

    assert "can't be used as a folder" in capsys.readouterr().err


def test_a_service_that_dies_ends_the_run_with_a_sentence_and_a_log(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    def dying(mill: FakeMill) -> None:
        mill.hold.clear()
        mill.failed.set_exception(RuntimeError("secret detail"))

    bench.prepare = dying

    assert bench.run() is ExitCode.BROKEN

    said = capsys.readouterr()
    assert "run the same command again" in said.err
    assert "secret detail" not in said.err + said.out
    assert "secret detail" in (bench.out / ".imagemill" / "mill.log").read_text()


def test_a_field_that_the_mill_refuses_is_told_to_the_user(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def refusing(mill: FakeMill) -> None:
        mill.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "RECIPE_INVALID", {"recipe": "has too many variants"})

    bench.prepare = refusing

    assert bench.run() is ExitCode.USAGE

    assert "recipe: has too many variants" in capsys.readouterr().err


def test_a_list_that_changes_while_it_is_read_is_never_worked_off(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit_the_list(mill: FakeMill) -> None:
        bench.list.write_text("http://example.com/other.jpg")

    bench.prepare = edit_the_list

    assert bench.run() is ExitCode.USAGE

    assert "changed while it was read" in capsys.readouterr().err
    assert all(not items for items in bench.items.values())


def test_one_item_is_not_called_items(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.list.write_text(URLS[0])
    bench.run()

    bench.run()

    assert "This list is done already (1 item); nothing is fetched again." in capsys.readouterr().out
