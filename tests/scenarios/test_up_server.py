"""`imagemill up` as its user meets it: many batches, fairly, through kills and restarts, with pictures in folders."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import pictures
from tests.support.eventually import eventually_blocking
from tests.support.picture_server import PictureServer, picture, serve_in_thread, stalled, status
from tests.support.serving_mill import PHOTO, ServingMill, serving_mill

SMALL = ("--recipe", "dataset-256")
LONGEST_STOP_S = 2.0


@pytest.fixture
def mill(tmp_path: Path) -> Iterator[ServingMill]:
    with serving_mill(tmp_path) as mill:
        yield mill


@pytest.fixture
def other_server() -> Iterator[PictureServer]:
    with serve_in_thread() as server:
        yield server


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_watch_goes_on_through_the_mills_death_and_ends_with_the_batch(mill: ServingMill) -> None:
    # given a batch at work that somebody follows
    up = mill.up()
    urls = mill.slow(60, 0.4)
    handed_in = mill.ask("submit", mill.write_list("urls.txt", urls), *SMALL, "--batch-id", "long")
    assert handed_in.out == "batches/long\n", handed_in.said
    watch = mill.start("watch", "long")
    folder = mill.pictures_of("long")
    up.wait_until(lambda: folder.exists() and len(names(folder)) >= 10)

    # when the mill dies of it and is started again
    mill.kill(up)
    watch.wait_until(lambda: "does not answer" in watch.out)
    done = {f"/slow/{n}.jpg" for n in range(60) if any(name.startswith(f"{n:06d}-") for name in names(folder))}
    asked = mill.server.requests.copy()
    again = mill.up()
    ended = watch.ended()

    # expect the watch to say so once and to tell the end, and nothing finished to be fetched twice
    assert ended.code == 0, ended.said
    assert ended.out.count("does not answer") == 1
    assert ended.out.count("The mill is back.") == 1
    assert "60 items: 60 succeeded." in ended.out
    assert "goes on, " in again.out
    assert {path for path in done if mill.server.requests[path] != asked[path]} == set()
    assert [row["state"] for row in mill.manifest("long")] == ["SUCCEEDED"] * 60
    assert len(names(folder)) == 62
    assert "Traceback" not in again.err + ended.err


def test_a_small_batch_ends_while_a_large_one_of_a_slow_server_runs(
    mill: ServingMill, other_server: PictureServer
) -> None:
    mill.up()
    mill.ask("submit", mill.write_list("large.txt", mill.slow(500, 0.25)), *SMALL, "--batch-id", "large")
    urls = [other_server.route(f"/{n}.jpg", picture(pictures.numbered(PHOTO, 900 + n))) for n in range(10)]
    small = mill.ask("submit", mill.write_list("small.txt", urls), *SMALL, "--batch-id", "small", "--watch")

    assert small.code == 0, small.said
    (large,) = [batch for batch in mill.told("list") if batch["name"] == "batches/large"]
    assert large["state"] == "ACTIVE"
    assert len(mill.manifest("small")) == 10


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it_within_two_seconds_and_the_next_start_goes_on(
    mill: ServingMill, number: signal.Signals, code: int
) -> None:
    # given a mill with a batch done and one at work
    up = mill.up()
    assert mill.ask("submit", mill.write_list("a.txt", mill.good(3)), *SMALL, "--batch-id", "a", "--watch").code == 0
    stuck = mill.server.route("/stuck.jpg", stalled(PHOTO, 50))
    mill.ask("submit", mill.write_list("b.txt", [stuck, *mill.good(2, "b")]), *SMALL, "--batch-id", "b")
    up.wait_until(lambda: mill.server.open_now == 1 and "b (b.txt): taken in" in up.out)
    assert len(mill.manifest("a")) == 3

    # when it is told to stop
    up.send_group(number)
    ended = up.ended(5.0)

    # expect a quick end in words, and the next start to finish what was begun and nothing else
    assert (ended.code, ended.took_s <= LONGEST_STOP_S) == (code, True), ended.said
    assert ended.err == "imagemill: Stopped. 1 batch is unfinished and goes on at the next start.\n"
    mill.server.route("/stuck.jpg", picture(PHOTO))
    again = mill.up()
    assert [row["state"] for row in mill.manifest("b")] == ["SUCCEEDED"] * 3
    assert mill.server.requests["/good/0.jpg"] == 1
    again.wait_until(lambda: "b (b.txt): done" in again.out)
    assert "a (a.txt)" not in again.out


def test_what_is_missing_in_a_batchs_folder_is_there_again_after_the_next_start(mill: ServingMill) -> None:
    up = mill.up()
    mill.ask("submit", mill.write_list("a.txt", mill.good(3)), *SMALL, "--batch-id", "a", "--watch")
    mill.manifest("a")
    before = names(mill.pictures_of("a"))
    up.send(signal.SIGTERM)
    up.ended(5.0)

    shutil.rmtree(mill.pictures_of("a"))
    mill.up()

    assert len(mill.manifest("a")) == 3
    assert names(mill.pictures_of("a")) == before
    assert mill.server.requests["/good/0.jpg"] == 1


def test_items_that_are_tried_again_come_into_the_manifest_too(mill: ServingMill) -> None:
    mill.up()
    urls = [*mill.good(2), mill.server.route("/late.jpg", status(404), picture(PHOTO))]
    handed_in = mill.ask("submit", mill.write_list("urls.txt", urls), *SMALL, "--batch-id", "a", "--watch")
    assert handed_in.code == 1, handed_in.said
    assert [row["state"] for row in mill.manifest("a")] == ["SUCCEEDED", "SUCCEEDED", "FAILED"]

    retried = mill.ask("retry", "a")
    followed = mill.ask("watch", "a")

    assert retried.out == "Trying 1 failed item of a (urls.txt) again.\n"
    assert followed.code == 0, followed.said
    eventually_blocking(lambda: mill.manifest("a")[2]["state"] == "SUCCEEDED", timeout_s=10.0)
    # The report is written last: it says that the folder is whole.
    report = mill.pictures_of("a") / "report.json"
    eventually_blocking(
        lambda: json.loads(report.read_text(encoding="utf-8"))["counts"]["succeeded"] == 3, timeout_s=10.0
    )


def test_a_folder_that_cannot_be_written_is_told_and_the_mill_works_on(mill: ServingMill) -> None:
    (mill.data / "pictures").mkdir(parents=True)
    (mill.data / "pictures" / "a").write_text("in the way")
    up = mill.up()

    ended = mill.ask("submit", mill.write_list("urls.txt", mill.good(2)), *SMALL, "--batch-id", "a", "--watch")

    assert ended.code == 0, ended.said
    up.wait_until(lambda: "can't be written" in up.out)
    assert up.out.count("can't be written") == 1
    assert mill.ask("list").code == 0
    (mill.data / "pictures" / "a").unlink()
    up.send(signal.SIGTERM)
    assert up.ended(5.0).code == 143
    mill.up()
    assert len(mill.manifest("a")) == 2


def test_a_taken_address_and_a_taken_folder_are_told_in_a_sentence(mill: ServingMill, tmp_path: Path) -> None:
    mill.up()

    address = mill.begin("up", "--data", str(tmp_path / "other"), "--listen", mill.to).ended()
    folder = mill.begin("up", "--data", str(mill.data), "--listen", "127.0.0.1:0").ended()

    assert (address.code, folder.code) == (2, 2)
    assert address.err == (
        f"imagemill: {mill.to} can't be listened on: something else listens there, perhaps another mill. "
        "Choose another address with --listen.\n"
    )
    assert folder.err.startswith(f"imagemill: Another imagemill is at work in {mill.data}.")


def test_an_address_that_others_reach_is_warned_of_and_a_quiet_mill_says_no_more(mill: ServingMill) -> None:
    up = mill.begin("up", "--data", str(mill.data), "--listen", "0.0.0.0:0", "-q")

    up.wait_until(lambda: up.err.endswith("\n"))
    up.send(signal.SIGINT)
    ended = up.ended(5.0)

    assert "asks for no password" in ended.err
    assert ended.out == ""
    assert ended.code == 130
