"""The figures that the benchmarks print can be trusted."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import fields, replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import corpus
from benchmarks.agreement import agreement
from benchmarks.goals import judged, passes
from benchmarks.growth import LABELS, Growth
from benchmarks.growth import judged as judged_growth
from benchmarks.jobs import Job, Output, R, T, WrongOutput, check, write_list
from benchmarks.machine import facts
from benchmarks.measure import OFTEN_S, Sampler, Usage, measure
from benchmarks.publish import PAGE, RUNS, publish_contest
from benchmarks.quality import best_psnr, psnr
from benchmarks.report import Result, against_others, load, table
from benchmarks.rows import row_times
from benchmarks.runners import FORMATS, Floor, Plain, Run, Runner
from benchmarks.server import serving
from benchmarks.smoke import Usual

BUSY = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def result(runner: str, round_: int, *, wall_s: float, cpu_s: float, job: str = "R") -> Result:
    return Result(runner, job, round_, 100, Output(100, 1_000_000), Usage(0, wall_s, cpu_s, 10**6, 1, 0))


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


def test_a_server_that_the_measured_command_started_is_counted_once(tmp_path: Path) -> None:
    hold = "held = bytearray(60_000_000); print(1, flush=True); import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        sampler = Sampler(OFTEN_S, [os.getpid(), child.pid])
        sampler.start()
        while not sampler.peak_processes:
            child.poll()
        sampler.stop()
        child.kill()

    assert 60_000_000 <= sampler.peak_pss_bytes < 120_000_000


def test_what_the_command_says_is_kept_and_its_exit_code_told(tmp_path: Path) -> None:
    usage = measure(["sh", "-c", "echo trouble >&2; exit 3"], log=tmp_path / "log")

    assert usage.exit_code == 3
    assert (tmp_path / "log").read_text() == "trouble\n"


def test_cpu_and_memory_of_a_server_that_stands_are_counted_but_not_its_start(tmp_path: Path) -> None:
    asking, answering = tmp_path / "asking", tmp_path / "answering"
    for pipe in (asking, answering):
        os.mkfifo(pipe)
    # Busy when it starts; when it is asked, a child of its own is, and ends before the second look.
    server = (
        f"{BUSY}\nimport subprocess, sys\nheld = bytearray(50_000_000); print(1, flush=True)\n"
        f"open({str(asking)!r}).read(); subprocess.run([sys.executable, '-c', {BUSY!r}])\n"
        f"open({str(answering)!r}, 'w').write('done'); sys.stdin.read()"
    )
    ask = f"open({str(asking)!r}, 'w').write('do'); open({str(answering)!r}).read()"
    with subprocess.Popen([sys.executable, "-c", server], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as standing:
        assert standing.stdout
        standing.stdout.readline()
        usage = measure(
            [sys.executable, "-c", ask], log=tmp_path / "log", standing={"it": standing.pid}, sample_every_s=OFTEN_S
        )
        standing.kill()

    assert usage.exit_code == 0, (tmp_path / "log").read_text()
    assert usage.start_cpu_s >= 0.3
    assert 0.3 <= usage.standing_cpu_s["it"] <= usage.cpu_s
    assert usage.peak_pss_bytes >= 50_000_000


@pytest.mark.parametrize("kind", ["photo", "mixed"])
def test_a_picture_is_the_same_each_time_and_of_its_size(kind: str) -> None:
    first, again = corpus.encoded(kind, 1), corpus.encoded(kind, 1)

    assert first == again
    with Image.open(io.BytesIO(first)) as picture:
        assert picture.size == corpus.KINDS[kind].size_of(1)
        assert corpus.KINDS[kind].suffix_of(1) in {"jpg", str(picture.format).lower()}


def test_a_photograph_takes_what_a_photograph_takes() -> None:
    assert 150_000 < len(corpus.encoded("photo", 1)) < 280_000


def small_corpus(folder: Path) -> None:
    """Lay small pictures where the corpus of each kind would be made."""
    for name, kind in corpus.KINDS.items():
        for path in corpus.paths(folder, name):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((8, 8), 50).convert("RGBA" if path.suffix == ".png" else "RGB").save(path)
        assert kind.pictures


def test_every_url_of_the_server_has_bytes_of_its_own_that_can_be_decoded(tmp_path: Path) -> None:
    small_corpus(tmp_path)
    numbers = (0, 1, 64, 65, 128)

    with serving(tmp_path) as address:
        bodies = {
            (kind, number): urllib.request.urlopen(f"{address}/{kind}/{number:06d}.jpg").read()
            for kind in corpus.KINDS
            for number in numbers
        }
        for path in ("elsewhere", "photo/x.jpg", "nothing/000001.jpg"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{address}/{path}")

    assert len(set(bodies.values())) == len(corpus.KINDS) * len(numbers)
    for (kind, number), body in bodies.items():
        with Image.open(io.BytesIO(body)) as picture:
            picture.load()
            assert corpus.KINDS[kind].suffix_of(number) in {"jpg", str(picture.format).lower()}


def test_the_server_answers_requests_that_come_together_though_no_buffer_holds_the_answers(tmp_path: Path) -> None:
    small_corpus(tmp_path)
    large = corpus.paths(tmp_path, "large")[0]
    Image.effect_noise((3000, 2000), 90).save(large, quality=95)

    with (
        serving(tmp_path) as address,
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as client,
    ):
        client.sendall(
            b"GET /large/000000.jpg HTTP/1.1\r\n\r\n" * 2 + b"GET /gone HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
        received = bytearray()
        while b" 404 " not in received[-200:]:
            part = client.recv(100_000)
            assert part
            received += part

    picture = large.stat().st_size + 12  # with the comment that holds its number
    assert received.count(b"Content-Length: %d\r\n" % picture) == 2
    assert len(received) > 2 * picture


@pytest.mark.parametrize("fault", ["missing", "too large", "wrong format"])
def test_a_run_that_did_not_do_the_job_is_no_result(tmp_path: Path, fault: str) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(4)]
    for number, path in enumerate(paths):
        width, height = corpus.KINDS["photo"].size_of(number)
        scale = 256 / max(width, height)
        Image.new("RGB", (round(width * scale), round(height * scale))).save(path)
    assert check(R, 4, paths, FORMATS).pictures == 4

    match fault:
        case "missing":
            paths.pop()
        case "too large":
            Image.new("RGB", (300, 225)).save(paths[0])
        case _:
            Image.new("RGB", (256, 192)).save(paths[0], "PNG")

    with pytest.raises(WrongOutput):
        check(R, 4, paths, FORMATS)


def test_a_runner_owes_only_the_formats_it_can_write(tmp_path: Path) -> None:
    paths = []
    for side in (150, 600, 1200):
        paths.append(tmp_path / f"{side}.jpg")
        Image.new("RGB", (side, round(side * 0.75))).save(paths[-1])

    assert check(T, 1, paths, frozenset({"JPEG"})).pictures == 3
    with pytest.raises(WrongOutput):
        check(T, 1, paths, FORMATS)


def test_runners_are_compared_round_by_round() -> None:
    results = [
        result("mill", 1, wall_s=1, cpu_s=1),
        result("other", 1, wall_s=3, cpu_s=2),
        result("mill", 2, wall_s=2, cpu_s=2),
        result("other", 2, wall_s=4, cpu_s=8),
        result("mill", 3, wall_s=9, cpu_s=9),  # the other was left out of this one
    ]

    (compared,) = against_others(results, "mill")

    assert (compared.first, compared.second) == ("mill", "other")
    assert compared.rate == pytest.approx([3, 2])
    assert compared.cpu == pytest.approx([0.5, 0.25])
    assert "50.0 (11.1-100.0)" in table(results)


@pytest.mark.parametrize(("cpu_s", "passed"), [(2.0, True), (6.0, False)])
def test_a_missed_gate_is_told_and_judged(cpu_s: float, passed: bool) -> None:
    results = [result("mill", 1, wall_s=1, cpu_s=cpu_s), result("img2dataset", 1, wall_s=4, cpu_s=10)]

    judgements = judged(results)

    assert passes(judgements) is passed
    assert ("MISSED" in "".join(goal.line(values) for goal, values in judgements)) is not passed


def test_a_goal_is_judged_by_its_median_and_told_with_its_rounds() -> None:
    rounds = [(result("mill", n, wall_s=1, cpu_s=1), result("img2dataset", n, wall_s=n, cpu_s=4)) for n in (2, 3, 4)]

    (goal, values), *_ = judged([each for both in rounds for each in both])

    assert goal.line(values) == (
        "R: mill : img2dataset, images/s: 3.00 (2.00-4.00), at least 3 (the gate is 2.5): met, kept by 2 of 3 rounds"
    )


def test_nothing_to_judge_passes_no_gate() -> None:
    assert not passes(judged([result("plain", 1, wall_s=1, cpu_s=1)]))


def test_quality_is_that_of_each_picture_against_its_own_original(tmp_path: Path) -> None:
    originals = [tmp_path / f"{number}.jpg" for number in range(3)]
    for number, original in enumerate(originals):
        original.write_bytes(corpus.encoded("photo", number))
    good, poor = tmp_path / "good", tmp_path / "poor"
    good.mkdir()
    poor.mkdir()
    for number, original in enumerate(originals):
        with Image.open(original) as picture:
            size = round(picture.width * 256 / max(picture.size)), round(picture.height * 256 / max(picture.size))
            made = picture.resize(size, Image.Resampling.LANCZOS)
        made.save(good / f"{3 - number}.jpg", quality=85)
        made.reduce(6).resize(size).save(poor / f"{3 - number}.jpg", quality=85)

    best = best_psnr(R.boxes, originals)

    assert psnr(good.iterdir(), originals, R.boxes) == pytest.approx(best, abs=0.05)
    assert psnr(poor.iterdir(), originals, R.boxes) < best - 3


def test_an_original_smaller_than_its_box_is_judged_among_those_that_fill_it(tmp_path: Path) -> None:
    originals = [tmp_path / f"{number}.jpg" for number in range(8)]
    for number, original in enumerate(originals):
        original.write_bytes(corpus.encoded("photo", number))
    boxes = ((1200, "JPEG"),)
    made, sides = tmp_path / "made", set()
    made.mkdir()
    for original in originals:
        with Image.open(original) as picture:
            scale = min(1.0, 1200 / max(picture.size))
            sides.add(round(max(picture.size) * scale))
            size = round(picture.width * scale), round(picture.height * scale)
            picture.resize(size, Image.Resampling.LANCZOS).save(made / original.name, quality=85)

    assert sides == {1104, 1200}
    assert psnr(made.iterdir(), originals, boxes) == pytest.approx(best_psnr(boxes, originals), abs=0.05)


def test_growth_is_judged_from_ten_thousand_items_up() -> None:
    same = dict.fromkeys([field.name for field in fields(Growth)][2:], 1.0) | {"whole_ms": 2.0}

    def growth(items: int, batches: int = 1, **figures: float) -> Growth:
        return Growth(items, batches, **{**same, **figures})

    measured = [
        growth(1000, claim_ms=9),
        growth(10_000),
        # On a machine that was twice as slow meanwhile.
        growth(1_000_000, claim_ms=1.3, intake_s=61.0, outside_ms=2.0, whole_ms=4.0),
        growth(10_000, 100, outside_ms=1.1, whole_ms=2.1, intake_ms=4.0),
    ]

    lines = list(judged_growth(measured))

    assert [line for line in lines if "MISSED" in line] == [
        "claim of 256, 1,000,000 beside 10,000 items: 1.30, at most 1.2: MISSED",
        "intake of 1,000,000 items, s: 61.00, at most 60: MISSED",
        "intake, 100 batches beside one of the same size: 4.00, at most 1.2: MISSED",
    ]
    assert (
        "CPU outside pixels beside that in pixels, 100 batches beside one of the same size: 1.10, at most 1.2: met"
        in lines
    )
    assert len(lines) == len(LABELS) + 1


def test_a_smaller_regression_is_no_gross_one() -> None:
    usual = Usual("plain", rate=1.0, cpu=1.0)
    plain = result("plain", 1, wall_s=1, cpu_s=1)

    assert usual.verdict([result("mill", 1, wall_s=1.9, cpu_s=1.9), plain])[1]
    assert not usual.verdict([result("mill", 1, wall_s=2.1, cpu_s=1), plain])[1]
    assert not usual.verdict([result("mill", 1, wall_s=1, cpu_s=2.1), plain])[1]


def test_figures_are_published_between_their_marks_alone(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- contest: written by make bench -->\nold\n<!-- end of contest -->\nafter\n")
    results = [result(name, 1, wall_s=wall_s, cpu_s=1) for name, wall_s in (("mill", 1.0), ("floor", 0.5))]

    here = facts()
    publish_contest(results, here, ["scrapy"], page)
    once = page.read_text()
    publish_contest(results, here, ["scrapy"], page)

    assert page.read_text() == once
    assert load(tmp_path / RUNS.name) == results
    assert "scrapy could not be had on this machine and is left out." in once
    assert once.startswith("before\n")
    assert once.endswith("<!-- end of contest -->\nafter\n")
    assert "| mill | 100.0 (100.0-100.0) | 10.00 (10.00-10.00) |" in once
    assert "old" not in once
    assert "](performance-R.svg)" in once
    assert b"<svg" in (tmp_path / "performance-R.svg").read_bytes()


def test_the_page_has_a_place_for_everything_that_is_published() -> None:
    text = PAGE.read_text(encoding="utf-8")

    for name in ("contest", "growth", "startup"):
        assert text.count(f"<!-- {name}: written by make bench -->") == text.count(f"<!-- end of {name} -->") == 1


def test_a_run_agrees_whose_medians_lie_within_the_published_ranges() -> None:
    published = [result(name, n, wall_s=n, cpu_s=2) for name in ("mill", "plain") for n in (1, 2)]
    now = [result("plain", 1, wall_s=4, cpu_s=2), result("mill", 1, wall_s=1.5, cpu_s=2)]
    now.append(result("floor", 1, wall_s=1, cpu_s=1))  # nothing is published of it

    assert agreement(now, published) == [
        "6 of 8 medians lie within the published ranges",
        "  R: plain, images/s: 25.00, published 50.00 to 100.00",
        "  R: mill : plain, images/s: 2.67, published 1.00 to 1.00",
    ]


def test_who_makes_fewer_pictures_is_not_compared() -> None:
    half = replace(result("scrapy", 1, wall_s=1, cpu_s=1), output=Output(300, 1000))
    whole = [replace(result(name, 1, wall_s=1, cpu_s=1), output=Output(600, 1000)) for name in ("mill", "plain")]

    assert [found.second for found in against_others([*whole, half], "mill")] == ["plain"]


async def test_a_claim_and_a_fold_are_timed_on_stores_of_the_asked_sizes(tmp_path: Path) -> None:
    times = await row_times([(1200, 1), (1200, 3), (100, 1)], tmp_path)

    assert len(times) == 3
    assert all(each.claim_ms > 0 and each.fold_ms > 0 for each in times)


@pytest.mark.parametrize("job", [R, T], ids=["R", "T"])
@pytest.mark.parametrize("script", [Plain, Floor])
def test_the_scripts_do_the_job(tmp_path: Path, script: type[Runner], job: Job) -> None:
    small_corpus(tmp_path)
    for number, path in enumerate(corpus.paths(tmp_path, "photo")[:3]):
        path.write_bytes(corpus.encoded("photo", number))
    runner = script()

    with serving(tmp_path) as address:
        write_list(address, "photo", 3, tmp_path / "urls.txt")
        run = Run(job, 3, tmp_path / "urls.txt", tmp_path / "out")
        usage = measure(runner.command(run), log=tmp_path / "log")

    assert usage.exit_code == 0, (tmp_path / "log").read_text()
    assert check(job, 3, runner.pictures(run), runner.formats).pictures == 3 * len(job.boxes)
