"""The figures that the benchmarks print can be trusted."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import corpus
from benchmarks.jobs import R, WrongOutput, check
from benchmarks.measure import OFTEN_S, Usage, measure
from benchmarks.report import Result, ratios, table
from benchmarks.server import serving

BUSY = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def result(runner: str, round_: int, *, wall_s: float, cpu_s: float) -> Result:
    return Result(runner, "R", round_, 100, 100, Usage(0, wall_s, cpu_s, 2**20, 1, 0))


def test_cpu_of_a_process_that_outlives_the_command_is_counted(tmp_path: Path) -> None:
    # The shell ends at once; its grandchild works on, adopted.
    usage = measure(["sh", "-c", f"( {sys.executable} -c '{BUSY}' & ) ; exit 0"], log=tmp_path / "log")

    assert usage.exit_code == 0
    assert usage.cpu_s >= 0.3
    assert usage.left_behind == 0


def test_memory_is_that_of_all_processes_together(tmp_path: Path) -> None:
    holding = "import time; held = bytearray(60_000_000); time.sleep(1)"  # long enough for several samples
    one = f"{sys.executable} -c '{holding}'"

    usage = measure(["sh", "-c", f"{one} & {one} & wait"], log=tmp_path / "log", sample_every_s=OFTEN_S)

    assert usage.peak_pss_bytes >= 120_000_000
    assert usage.peak_processes >= 3


def test_what_the_command_says_is_kept_and_its_exit_code_told(tmp_path: Path) -> None:
    usage = measure(["sh", "-c", "echo trouble >&2; exit 3"], log=tmp_path / "log")

    assert usage.exit_code == 3
    assert (tmp_path / "log").read_text() == "trouble\n"


def test_a_photograph_is_the_same_each_time_and_of_its_size() -> None:
    first, again = corpus.photo(1), corpus.photo(1)

    assert first == again
    assert 150_000 < len(first) < 280_000


def test_every_url_of_the_server_has_bytes_of_its_own(tmp_path: Path) -> None:
    kept = tmp_path / "corpus-1"
    kept.mkdir()
    for number in range(corpus.PICTURES):
        Image.new("RGB", (8, 8)).save(kept / f"{number:03d}.jpg")

    with serving(tmp_path) as address:
        bodies = {urllib.request.urlopen(f"{address}/img/{number:06d}.jpg").read() for number in (0, 1, 64, 128)}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/elsewhere")

    assert len(bodies) == 4


@pytest.mark.parametrize("fault", ["missing", "too large", "wrong format"])
def test_a_run_that_did_not_do_the_job_is_no_result(tmp_path: Path, fault: str) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(4)]
    for number, path in enumerate(paths):
        width, height = corpus.size_of(number)
        scale = 256 / max(width, height)
        Image.new("RGB", (round(width * scale), round(height * scale))).save(path)
    assert check(R, 4, paths) == 4

    match fault:
        case "missing":
            paths.pop()
        case "too large":
            Image.new("RGB", (300, 225)).save(paths[0])
        case _:
            Image.new("RGB", (256, 192)).save(paths[0], "PNG")

    with pytest.raises(WrongOutput):
        check(R, 4, paths)


def test_runners_are_compared_round_by_round() -> None:
    results = [
        result("mill", 1, wall_s=1, cpu_s=1),
        result("other", 1, wall_s=3, cpu_s=2),
        result("mill", 2, wall_s=2, cpu_s=2),
        result("other", 2, wall_s=4, cpu_s=8),
    ]

    (compared,) = ratios(results, "mill")

    assert (compared.first, compared.second) == ("mill", "other")
    assert compared.rate == pytest.approx([3, 2])
    assert compared.cpu == pytest.approx([0.5, 0.25])
    assert "75.0 (50.0-100.0)" in table(results)
