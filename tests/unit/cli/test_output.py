"""Standard output that can't be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.cli.output import LastingStream

FULL = Path("/dev/full")


def test_a_stream_that_failed_once_takes_everything(capfd: pytest.CaptureFixture[str]) -> None:
    with FULL.open("w") as full:
        stream = LastingStream(full)
        for _ in range(3):
            stream.write("lost\n")
            stream.flush()

    assert capfd.readouterr().err.count("can't be written") == 1


def test_a_stream_that_outlives_the_one_it_writes_to_has_nothing_to_say() -> None:
    with FULL.open("w") as full:
        stream = LastingStream(full)

    stream.flush()
    stream.close()
