"""What the parser of the command line refuses, in which words, and what each command's help shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.cli.app import app, run_words
from imagemill.cli.batch_commands import BATCH_COMMANDS
from imagemill.cli.exits import ExitCode
from imagemill.embedded import EmbeddedSettings
from imagemill.settings.groups import MillSettings
from processor_svc.pool import OUTSTANDING

COMMANDS = ["run", "demo", "up", "completion", *(command.__name__.strip("_") for command, _ in BATCH_COMMANDS)]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "urls.txt").write_text("http://127.0.0.1:1/a.jpg\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run", "urls.txt"], "imagemill: Say where the results go: -o pictures."),
        (["run", "urls.txt", "-o"], "imagemill: Say where the results go: -o pictures."),
        (["run", "urls.txt", "-o", ""], "-o is empty; say where the results go: -o pictures."),
        (["demo", "--out", ""], "--out is empty; say where the results go: --out pictures."),
        (["run", "urls.txt", "-o", "x", "--retries", "1.5"], "--retries 1.5"),
        (["run", "urls.txt", "-o", "x", "--concurrency", "16.9"], "--concurrency 16.9"),
        (["run", "urls.txt", "-o", "x", "--children", "two"], "--children two"),
        (["run", "urls.txt", "-o", "x", "--per-host", "1e3"], "--per-host 1e3"),
        (["run", "urls.txt", "-o", "x", "--start-at", "0"], "--start-at 0: lines are counted from 1."),
        (["run", "urls.txt", "-o", "x", "--start-at", "two"], "--start-at two: give a whole number."),
        (["run", "", "-o", "x"], "Say what to fetch"),
        (["demo", "-q"], "imagemill: Unknown option: -q. imagemill demo --help lists them all."),
        (["lst"], "imagemill: Unknown command lst. Did you mean list? imagemill --help lists them all."),
        (["list", "x"], "imagemill: 'x' is one word too many; imagemill list --help shows what may be given."),
        (["list", "-o", "xml"], 'Choose from: "text", "json".'),
        (["list", "--to"], "imagemill: --to needs a value; imagemill list --help shows one."),
        (["list", "--limit", "2", "--limit", "3"], "imagemill: --limit is given twice; once is enough."),
        (["get"], "imagemill: Say which batch: imagemill list shows them."),
        (["watch"], "imagemill: Say which batch: imagemill list shows them, and --all follows every one."),
        (["watch", "urls-3f9a", "--all"], "imagemill: Say one batch or --all, not both."),
        (
            ["run", "urls.txt", "-o", "x", "--chidlren", "4"],
            "imagemill: Unknown option --chidlren. Did you mean --children? imagemill run --help lists them all.",
        ),
        (
            ["submit", "urls.txt", "--prio=4"],
            "imagemill: Unknown option --prio. Did you mean --priority? imagemill submit --help lists them all.",
        ),
        (["submit", "urls.txt", "-q"], "imagemill: Unknown option -q. imagemill submit --help lists them all."),
        (["completion"], "imagemill: Say for which shell: bash, zsh or fish."),
        (["items", "a", "--state", "gone"], '"succeeded"'),
        (["up", "--data", ""], "--data '': give a folder"),
        (["up", "--data", "d", "--listen", "50051"], "--listen 50051: this is no address; give host:port"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    assert run_words(words) == ExitCode.USAGE

    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.startswith("imagemill: ")
    assert said.out == ""


def test_a_refused_run_makes_nothing(tmp_path: Path) -> None:
    assert run_words(["run", "urls.txt", "-o", "x", "--retries", "1.5"]) == ExitCode.USAGE

    assert [path.name for path in tmp_path.iterdir()] == ["urls.txt"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run_words([command, "--help"]) == ExitCode.OK

    shown = capsys.readouterr().out
    assert f"Usage: imagemill {command}" in shown
    assert f"\n  imagemill {command}" in shown.split("Examples:")[-1] or f"(imagemill {command}" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_is_explained_with_an_example(command: str) -> None:
    arguments = app[command].assemble_argument_collection()

    helpless = [
        argument.name for argument in arguments if argument.show and "Example: " not in (argument.parameter.help or "")
    ]
    assert helpless == []


def test_the_connections_to_one_host_reach_the_downloader() -> None:
    settings = EmbeddedSettings(Path("state"), MillSettings(downloads=300, per_host=200))

    http = settings.downloader("unix:storage").http

    assert http.connections_per_host == 200
    assert http.connections >= 200


def test_as_many_connections_to_one_host_as_allowed_find_a_place_among_all() -> None:
    settings = EmbeddedSettings(Path("state"), MillSettings(per_host=1000))

    assert settings.downloader("unix:storage").http.connections >= 1000


@pytest.mark.parametrize("per_host", [1, 8, 100, 1000])
def test_the_files_that_a_mill_may_open_do_not_grow_with_hosts_times_connections(per_host: int) -> None:
    assert EmbeddedSettings(Path("state"), MillSettings(per_host=per_host)).files < 4096


def test_the_window_is_twice_what_the_workers_hold() -> None:
    settings = EmbeddedSettings(Path("state"), MillSettings(downloads=20, children=2))

    gateway = settings.gateway("unix:mill", "unix:storage")

    assert gateway.least_window == 2 * (20 + 2 * OUTSTANDING)
