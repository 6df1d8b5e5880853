"""Times, sizes and tries as a user finds them: in the manifest, in the report, and over the API alike."""

from __future__ import annotations

import signal
from collections import Counter
from typing import Any

import pytest

from tests.support import pictures
from tests.support.house import House
from tests.support.picture_server import html, picture, status

RENDERING = ("decode_ms", "resize_ms", "encode_ms", "store_ms")
TIMINGS = ("download_ms", *RENDERING)


def test_every_part_of_the_work_is_timed_and_the_report_is_the_sum_of_the_rows(house: House) -> None:
    shared = pictures.jpeg(800, 600)
    urls = [
        house.server.route("/first.jpg", picture(shared)),
        house.server.route("/again.jpg", picture(shared)),
        house.server.route("/other.png", picture(pictures.png(300, 200), "image/png")),
        house.server.route("/missing.jpg", status(404)),
        house.server.route("/flaky.jpg", status(503), picture(pictures.jpeg(900, 700))),
        house.server.route("/second-try.jpg", html(), picture(pictures.jpeg(1000, 500))),
    ]
    house.write_list([*urls, "no url at all"])

    ended = house.run()
    assert ended.code == 1, ended.said

    rows, report = house.manifest(), house.report()
    rendered = [row for row in rows if row["state"] == "SUCCEEDED" and row["decode_ms"]]
    assert {row["index"] for row in rendered} >= {"2", "4", "5"}
    for row in rendered:
        assert all(float(row[name]) >= 0 for name in TIMINGS), row
    missing, rubbish = rows[3], rows[6]
    assert missing["download_ms"]
    assert [missing[name] for name in RENDERING] == [""] * 4
    assert [rubbish[name] for name in TIMINGS] == [""] * 5
    _assert_sums(rows, report)


def _assert_sums(rows: list[dict[str, str]], report: dict[str, Any]) -> None:
    done = [row for row in rows if row["state"] == "SUCCEEDED"]
    assert report["attempts"] == sum(int(row["attempts"]) for row in rows) == 7
    assert (report["retries"], report["quick_retries"]) == (1, 1)
    assert report["http_statuses"] == Counter(row["http_status"] for row in rows if row["http_status"])
    assert report["formats"] == Counter(row["format"] for row in done)
    assert report["error_families"] == {"server": 1, "input": 1}
    assert report["downloaded_bytes"] == sum(int(row["bytes"] or 0) for row in rows)
    assert report["duplicate_bytes"] == sum(int(row["bytes"]) for row in rows if row["duplicate_of"])
    assert report["rendered_bytes"] > report["saved_bytes"] > 0
    assert report["render_cpu_s"] > 0
    (host,) = report["hosts"]["failing"]
    assert (host["host"], host["items"], host["failed"]) == ("127.0.0.1", 6, 1)
    assert report["hosts"]["failed_elsewhere"] == 1
    for name in TIMINGS:
        times = [float(row[name]) for row in done if row[name]]
        spread = report["durations_ms"][name.removesuffix("_ms")]
        assert spread["count"] == len(times)
        assert spread["max"] == pytest.approx(max(times), abs=0.051)
        assert spread["mean"] == pytest.approx(sum(times) / len(times), abs=0.051)
    assert report["run"]["cpu_s"] > report["render_cpu_s"]
    assert report["run"]["peak_memory_bytes"] > 30_000_000


def test_an_original_that_was_kept_keeps_the_time_of_its_download(house: House) -> None:
    """Killed while a kept original is rendered, the mill goes on with it: the network is not asked again."""
    house.write_list([house.server.route(f"/{n}.jpg", picture(pictures.jpeg(2000, 1500, seed=n))) for n in range(12)])
    program = house.start("--keep-originals", "--recipe", "standard")
    program.wait_until(lambda: len(house.truth().final) >= 3)
    program.send_group(signal.SIGKILL)
    program.ended()

    ended = house.run("--keep-originals", "--recipe", "standard")

    assert ended.code == 0, ended.said
    assert all(float(row["download_ms"]) > 0 for row in house.manifest())
