"""`imagemill settings`: what is set here, what a running mill was told, and changes to it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from imagemill.cli.app import run_words
from imagemill.cli.exits import ExitCode
from imagemill.cli.options import UpOptions
from imagemill.runtime.serving import serve_grpc
from imagemill.runtime.settings_api import SettingsApi
from imagemill.settings.groups import MillSettings
from imagemill.settings.live import LiveSettings
from imagemill.settings.loading import Sources, load
from imagemill.settings.origins import Layer
from imagemill.v1.settings_service_pb2_grpc import add_SettingsServiceServicer_to_server


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("IMAGEMILL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
async def mill(tmp_path: Path) -> AsyncIterator[tuple[str, LiveSettings[MillSettings]]]:
    """Where settings are served, and what they are."""
    live = LiveSettings(load(MillSettings, Sources(environ={"IMAGEMILL_DOWNLOADS": "12"}, folder=None)))
    target = f"unix:{tmp_path}/mill.sock"

    def register(server: grpc.aio.Server) -> None:
        add_SettingsServiceServicer_to_server(SettingsApi(live), server)

    async with serve_grpc(target, ("imagemill.v1.SettingsService",), register):
        yield target, live


async def said(*words: str) -> int:
    """Give the exit code of a command that asks a mill of this process."""
    return await asyncio.to_thread(run_words, words)


def table(text: str) -> dict[str, list[str]]:
    """Return the cells of a table by the first in each line."""
    lines = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in lines}


def test_each_value_is_shown_with_its_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imagemill.toml").write_text("downloads = 20\nretries = 2\n")
    monkeypatch.setenv("IMAGEMILL_RETRIES", "4")

    assert run_words(["settings", "--profile", "seo"]) == ExitCode.OK

    shown = table(capsys.readouterr().out)
    assert shown["downloads"][:2] == ["20", "file: imagemill.toml"]
    assert shown["retries"][:2] == ["4", "environment: IMAGEMILL_RETRIES"]
    assert shown["per_host"][:2] == ["4", "profile: seo"]
    assert shown["durability"][:2] == ["process", "default"]


def test_programs_get_an_object_for_each_setting_of_a_service(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEMILL_BROKER_URL", "amqp://mill:geheim@broker/")

    assert run_words(["settings", "--of", "downloader", "-o", "json"]) == ExitCode.OK

    text = capsys.readouterr().out
    records = {record["name"]: record for record in map(json.loads, text.splitlines())}
    assert records["broker_url"]["value"] == "amqp://mill:***@broker/"
    assert records["storage_target"]["source"] == "missing"
    assert (records["downloads"]["value"], records["downloads"]["changeable"]) == ("50", True)
    assert "geheim" not in text


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["settings", "--profile", "nigth"],
            "--profile nigth: there is no such profile; there are fast-download, seo.",
        ),
        (["settings", "--settings", "nowhere.yaml"], "nowhere.yaml: there is no such file."),
        (["settings", "set"], "Say what to change: imagemill settings set downloads=20."),
        (["settings", "set", "downloads"], "downloads: write a name, an equals sign and a value"),
        (["settings", "set", "downloads=1", "downloads=2"], "downloads is given twice"),
        (["settings", "set", "downloads=1", "--to", "nowhere"], "--to nowhere: this is no address"),
        (["settings", "--to", "127.0.0.1:1", "--profile", "seo"], "With --to the mill itself says what it was told"),
        (["run", "urls.txt", "-o", "out", "--downloads", "0"], "--downloads 0: downloads at a time; give a number"),
        (["run", "urls.txt", "-o", "out", "--allow-net", "lan"], "--allow-net lan: this is no network"),
        (["up", "--retries", "99"], "--retries 99: further attempts; give a number from 0 to 20."),
        (["submit", "urls.txt", "--settings", "no.ini"], "no.ini: a settings file must end in"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    (tmp_path / "urls.txt").write_text("http://127.0.0.1:1/a.jpg\n")

    assert run_words(words) == ExitCode.USAGE

    assert complaint in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["urls.txt"]


def test_all_that_is_wrong_is_told_at_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEMILL_DOWNLODS", "20")
    monkeypatch.setenv("IMAGEMILL_LOG_LEVEL", "loud")

    assert run_words(["settings"]) == ExitCode.USAGE

    told = capsys.readouterr().err
    assert "did you mean IMAGEMILL_DOWNLOADS?" in told
    assert "IMAGEMILL_LOG_LEVEL=loud: give debug, info, warning or error." in told


def test_a_mill_that_is_not_there_is_told_with_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_words(["settings", "set", "downloads=3", "--to", "unix:nowhere.sock"]) == ExitCode.UNREACHABLE

    assert "No mill answers at unix:nowhere.sock" in capsys.readouterr().err


async def test_a_running_mill_tells_its_settings_and_takes_others(
    mill: tuple[str, LiveSettings[MillSettings]], capsys: pytest.CaptureFixture[str]
) -> None:
    target, live = mill

    assert await said("settings", "--to", target) == ExitCode.OK
    assert table(capsys.readouterr().out)["downloads"][:2] == ["12", "environment: IMAGEMILL_DOWNLOADS"]

    assert await said("settings", "set", "downloads=20", "log_level=debug", "--to", target) == ExitCode.OK
    shown = table(capsys.readouterr().out)
    assert list(shown) == ["SETTING", "downloads", "log_level"]
    assert shown["downloads"][:2] == ["20", "changed"]
    assert (live.values.value.downloads, live.resolved.origins["downloads"].layer) == (20, Layer.CHANGED)


async def test_a_running_mill_refuses_with_the_reason_and_stays_as_it_is(
    mill: tuple[str, LiveSettings[MillSettings]], capsys: pytest.CaptureFixture[str]
) -> None:
    target, live = mill

    assert await said("settings", "set", "downloads=20", "per_host=0", "--to", target) == ExitCode.USAGE
    assert "per_host=0: connections to one host; give a number from 1 to 1,000." in capsys.readouterr().err
    assert await said("settings", "set", "downloads=20", "allow_nets=10.0.0.0/8", "--to", target) == ExitCode.USAGE
    assert "which networks are open must not change by a call" in capsys.readouterr().err
    assert live.values.value.downloads == 12


async def test_the_commands_look_for_the_mill_where_the_highest_layer_says(
    mill: tuple[str, LiveSettings[MillSettings]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target, live = mill
    (tmp_path / "imagemill.yaml").write_text(f"to: {target}\n")

    assert await said("settings", "set", "downloads=20") == ExitCode.OK
    assert live.values.value.downloads == 20

    monkeypatch.setenv("IMAGEMILL_TO", "unix:nowhere.sock")
    for words in (["list"], ["get", "x"], ["pause", "x"], ["report", "x"]):
        assert await said(*words) == ExitCode.UNREACHABLE
        assert "No mill answers at unix:nowhere.sock" in capsys.readouterr().err

    assert await said("settings", "set", "downloads=30", "--to", target) == ExitCode.OK
    assert live.values.value.downloads == 30


def test_an_address_in_the_environment_that_is_none_is_refused_with_its_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEMILL_TO", "nowhere")

    assert run_words(["list"]) == ExitCode.USAGE
    assert "IMAGEMILL_TO=nowhere: this is no address; give host:port" in capsys.readouterr().err


def test_a_mill_listens_and_keeps_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert UpOptions().data == tmp_path / "xdg" / "imagemill"

    (tmp_path / "imagemill.yaml").write_text("listen: 127.0.0.1:0\ndata: kept\n")
    assert (UpOptions().settings.values.listen, UpOptions().data) == ("127.0.0.1:0", Path("kept"))
    monkeypatch.setenv("IMAGEMILL_DATA", "elsewhere")
    assert UpOptions().state_folder == Path("elsewhere/state")
