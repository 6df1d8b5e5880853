"""Standard output that goes away, is full or was never there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagemill.cli.output import LastingStream

FULL = Path("/dev/full")


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    """The command on a list whose one line is no URL that may be fetched, so that it ends at once with 1."""
    (tmp_path / "urls.txt").write_text("http://127.0.0.1:1/a.jpg\n")
    words = ["run", str(tmp_path / "urls.txt"), "-o", str(tmp_path / "out"), "--recipe", "dataset-256"]
    return [sys.executable, "-m", "imagemill.cli", *words]


@pytest.mark.parametrize("option", ["--json", "--durability=process"])
def test_a_closed_standard_output_is_as_good_as_none(script: list[str], tmp_path: Path, option: str) -> None:
    closing = ["sh", "-c", 'exec "$@" >&- <&-', "sh", *script, option]

    ended = subprocess.run(closing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (1, "")
    assert (tmp_path / "out" / "manifest.csv").is_file()


@pytest.mark.parametrize("option", ["--json", "--durability=process"])
def test_a_full_standard_output_is_told_once_and_the_run_goes_on(
    script: list[str], tmp_path: Path, option: str
) -> None:
    with FULL.open("w") as full:
        ended = subprocess.run(
            [*script, option], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )

    assert ended.returncode == 1
    assert ended.stderr == (
        f"imagemill: Standard output can't be written ({os.strerror(errno.ENOSPC)}); the command goes on without it.\n"
    )
    assert (tmp_path / "out" / "manifest.csv").is_file()


def test_a_stream_that_failed_once_takes_everything(capfd: pytest.CaptureFixture[str]) -> None:
    with FULL.open("w") as full:
        stream = LastingStream(full)
        for _ in range(3):
            stream.write("lost\n")
            stream.flush()

    assert capfd.readouterr().err.count("can't be written") == 1
