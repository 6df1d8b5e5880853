"""What the parser of the command line refuses, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.cli.app import app
from imagemill.embedded import EmbeddedSettings


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
        (["run", "urls.txt", "-o", "x", "--retries", "1.5"], "--retries 1.5: give a whole number."),
        (["run", "urls.txt", "-o", "x", "--concurrency", "16.9"], "--concurrency 16.9: give a whole number."),
        (["run", "urls.txt", "-o", "x", "--children", "two"], "--children two: give a whole number."),
        (["run", "urls.txt", "-o", "x", "--per-host", "1e3"], "--per-host 1e3: give a whole number."),
        (["run", "", "-o", "x"], "Say what to fetch"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(words)

    said = capsys.readouterr()
    assert complaint in said.out + said.err
    assert ended.value.code in (1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["urls.txt"]


def test_the_connections_to_one_host_reach_the_downloader() -> None:
    settings = EmbeddedSettings(home=Path("state"), downloads=300, per_host=200)

    http = settings.downloader("unix:storage").http

    assert http.connections_per_host == 200
    assert http.connections >= 200


def test_as_many_connections_to_one_host_as_allowed_find_a_place_among_all() -> None:
    assert EmbeddedSettings(home=Path("state"), per_host=1000).downloader("unix:storage").http.connections >= 1000


@pytest.mark.parametrize("per_host", [1, 8, 100, 1000])
def test_the_files_that_a_mill_may_open_do_not_grow_with_hosts_times_connections(per_host: int) -> None:
    assert EmbeddedSettings(home=Path("state"), per_host=per_host).files < 4096
