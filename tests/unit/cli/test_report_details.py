"""What `imagemill report` tells beyond a summary, and what stands in the report file."""

from __future__ import annotations

from imagemill.cli.records import report_record
from imagemill.cli.report_details import details
from imagemill.cli.resources import resources_used
from imagemill.cli.summary import report_text
from imagemill.v1.batch_pb2 import Batch, Progress
from imagemill.v1.batch_service_pb2 import (
    BatchReport,
    Bucket,
    HostFigures,
    HostReport,
    OriginalSizes,
    Percentiles,
    Traffic,
    Tries,
)


def report() -> BatchReport:
    hosts = [HostFigures(host=f"h{n}.test", items=1000, failed=n, mean_download_ms=1000.0 * n) for n in range(9, 0, -1)]
    return BatchReport(
        batch=Batch(name="batches/b", progress=Progress(total=9050, succeeded=9000, failed=50)),
        http_statuses={200: 9000, 404: 45, 503: 50},
        hosts=HostReport(total=9, failing=hosts, failed_elsewhere=5, slowest=hosts),
        attempts_per_success=1.25,
        tries=Tries(attempts=9100, retries=50, quick_retries=7),
        traffic=Traffic(
            downloaded_bytes=10**9, rendered_bytes=25 * 10**7, saved_bytes=10**6, rendered_ratio=0.25
        ),
        formats={"png": 1, "jpeg": 7},
        durations_ms={
            name: Percentiles(p50=1, p90=2, p95=3, p99=4, max=29_999, mean=1.5, count=9000)
            for name in ("store", "download", "decode")
        },
        render_cpu_seconds=12.34,
        originals=OriginalSizes(
            bytes=[Bucket(at_least=0, below=10_000, count=3), Bucket(at_least=10_000, below=50_000, count=0)],
            megapixels=[Bucket(at_least=0.5, below=1, count=3), Bucket(at_least=50, count=1)],
        ),
    )  # fmt: skip


def test_the_details_are_few_lines_that_fit_a_terminal() -> None:
    lines = details(report())

    assert lines == [
        "",
        "Failed by host:",
        "  9 of 1,000  h9.test",
        "  8 of 1,000  h8.test",
        "  7 of 1,000  h7.test",
        "  6 of 1,000  h6.test",
        "  5 of 1,000  h5.test",
        "          15  elsewhere",
        "",
        "Answers:    200: 9,000, 503: 50, 404: 45",
        "Formats:    jpeg: 7, png: 1",
        "Megapixels: 0.5 to 1: 3, from 50: 1",
        "Kilobytes:  below 10: 3",
        "Attempts:   1.25 per success; 50 retries, 7 quick ones inside a download",
        "Pictures:   250.0 MB made, 25 % of the originals; 1.0 MB of it shared with duplicates",
        "CPU:        12.3 s for rendering",
        "",
        "Milliseconds       mean      half   9 in 10  19 in 20 99 in 100   longest",
        "  download          1.5       1.0       2.0       3.0       4.0  29,999.0",
        "  decode            1.5       1.0       2.0       3.0       4.0  29,999.0",
        "  store             1.5       1.0       2.0       3.0       4.0  29,999.0",
        "",
        "Slowest hosts (mean milliseconds of a download):",
        "     9,000.0  h9.test",
        "     8,000.0  h8.test",
        "     7,000.0  h7.test",
        "     6,000.0  h6.test",
        "     5,000.0  h5.test",
    ]


def test_one_retry_is_not_called_retries() -> None:
    told = report()
    told.tries.retries = told.tries.quick_retries = 1

    assert "Attempts:   1.25 per success; 1 retry, 1 quick one inside a download" in details(told)


def test_one_host_alone_is_not_called_the_slowest() -> None:
    told = report()
    del told.hosts.slowest[1:]

    assert not [line for line in details(told) if line.startswith("Slowest")]


def test_of_nothing_there_are_no_details() -> None:
    assert details(BatchReport()) == []
    assert report_text(BatchReport(batch=Batch(name="batches/b"))).startswith("batches/b")


def test_a_foreign_name_of_a_host_can_not_write_on_the_terminal() -> None:
    figures = HostFigures(host="evil\x1b[2J.test", items=1, failed=1, mean_download_ms=5.0)
    shown = "\n".join(details(BatchReport(hosts=HostReport(total=2, failing=[figures], slowest=[figures] * 2))))

    assert "\x1b" not in shown
    assert "evil\N{REPLACEMENT CHARACTER}[2J.test" in shown


def test_the_report_file_holds_all_of_it() -> None:
    record = report_record(report())

    assert record["http_statuses"] == {"200": 9000, "503": 50, "404": 45}
    assert (record["attempts"], record["retries"], record["quick_retries"]) == (9100, 50, 7)
    assert (record["downloaded_bytes"], record["rendered_bytes"], record["saved_bytes"]) == (10**9, 25 * 10**7, 10**6)
    assert record["rendered_ratio"] == 0.25
    assert record["render_cpu_s"] == 12.34
    hosts, originals = record["hosts"], record["originals"]
    assert isinstance(hosts, dict)
    assert isinstance(originals, dict)
    assert hosts["failing"][0] == {
        "host": "h9.test", "items": 1000, "failed": 9, "downloaded_bytes": 0, "mean_download_ms": 9000.0
    }  # fmt: skip
    assert (hosts["total"], hosts["failed_elsewhere"]) == (9, 5)
    assert originals["megapixels"] == [
        {"at_least": 0.5, "below": 1.0, "count": 3},
        {"at_least": 50.0, "below": None, "count": 1},
    ]


def test_what_this_process_has_used_is_measured() -> None:
    used = resources_used()

    assert used is not None
    assert used.cpu_s > 0
    assert used.peak_memory_bytes > 10**6
