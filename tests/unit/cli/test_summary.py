"""What a run says at its end, and what it writes into its report."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from imagemill.cli.options import RunOptions, to_reach
from imagemill.cli.records import report_record
from imagemill.cli.summary import batch_end, interrupted, summary
from imagemill.v1.batch_pb2 import Batch, Progress
from imagemill.v1.batch_service_pb2 import BatchReport, CodeCount, Percentiles

OPTIONS = RunOptions(sources=("urls.txt",), out=Path("pictures"))


def report(succeeded: int = 0, failed: int = 0, skipped: int = 0) -> BatchReport:
    progress = Progress(
        total=succeeded + failed + skipped,
        succeeded=succeeded,
        failed=failed,
        skipped=skipped,
        downloaded_bytes=12_345_678,
    )
    return BatchReport(
        batch=Batch(
            name="batches/run-1",
            state=Batch.STATE_COMPLETED,
            progress=progress,
            labels={"input-name": "urls.txt"},
            create_time=Timestamp(seconds=1_800_000_000),
        ),
        success_rate=0.5,
        active_duration=Duration(seconds=83),
        items_per_second=1234.56,
        bytes_per_second=148_743.1,
        formats={"png": 1, "jpeg": 7},
        durations_ms={"download": Percentiles(p50=1.23456, p90=2, p95=2.5, p99=3, max=4, mean=1.5, count=8)},
    )


def test_a_summary_counts_tells_the_pace_and_names_the_places() -> None:
    assert summary(report(succeeded=1500, skipped=2), OPTIONS).splitlines() == [
        "",
        "1,502 items: 1,500 succeeded, 2 skipped.",
        "Took 1 min 23 s at 1,234.6 items/s; 12.3 MB downloaded.",
        "",
        "Pictures: pictures",
        "Manifest: pictures/manifest.csv",
        "Report:   pictures/report.json",
    ]


def test_errors_are_listed_with_their_number_and_advice() -> None:
    failed = report(failed=1012)
    failed.errors.extend([CodeCount(code="DNS_FAILED", count=1000), CodeCount(code="INTERNAL", count=12)])

    said = summary(failed, OPTIONS).splitlines()

    assert "  1,000  DNS_FAILED  the host has no address; check its spelling, or this machine's name servers" in said
    assert "     12  INTERNAL    an error of the mill's own; please report it with the log" in said
    assert not [line for line in said if line.startswith("Pictures")]


@pytest.mark.parametrize(
    ("codes", "retriable", "offered"),
    [
        (["SOURCE_INVALID"], True, False),
        (["SOURCE_INVALID", "DNS_FAILED"], True, True),
        (["DNS_FAILED"], False, False),
        ([], True, False),
    ],
)
def test_another_try_is_offered_only_where_one_can_be_had(codes: list[str], retriable: bool, offered: bool) -> None:
    failed = report(failed=len(codes))
    failed.errors.extend(CodeCount(code=code, count=1) for code in codes)

    assert ("--retry-failed" in summary(failed, OPTIONS, retriable=retriable)) is offered


def test_what_a_batch_advises_asks_the_mill_that_was_asked() -> None:
    failed = report(failed=1)
    failed.errors.extend([CodeCount(code="DNS_FAILED", count=1)])

    said = batch_end(failed, " --to 127.0.0.1:50052", "on a shelf").splitlines()

    assert "Failed items: imagemill items run-1 --state failed --to 127.0.0.1:50052" in said
    assert "Another try:  imagemill retry run-1 --to 127.0.0.1:50052" in said
    assert "Pictures:     on a shelf" in said


def test_a_mill_that_commands_find_by_themselves_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert to_reach("127.0.0.1:50051") == ""
    assert to_reach("unix:/run/mill.sock") == " --to unix:/run/mill.sock"

    monkeypatch.setenv("IMAGEMILL_TO", "unix:/run/mill.sock")

    assert to_reach("127.0.0.1:50051") == " --to 127.0.0.1:50051"
    assert to_reach("unix:/run/mill.sock") == ""


def test_duplicates_are_mentioned() -> None:
    doubled = report(succeeded=3)
    doubled.duplicates = 2

    assert "2 pictures are the same as an earlier one (column duplicate_of)." in summary(doubled, OPTIONS)


def test_a_stopped_run_says_how_to_go_on() -> None:
    assert interrupted(1204, 4000) == "Stopped: 1,204 of 4,000 done. Run the same command again to go on."
    assert interrupted(0, 0) == "Stopped before the list was read. Run the same command again to begin."


def test_the_report_file_holds_plain_numbers_and_iso_times() -> None:
    record = report_record(report(succeeded=7, failed=1))

    assert record["success_rate"] == 0.5
    assert record["formats"] == {"jpeg": 7, "png": 1}
    download = {"count": 8, "mean": 1.5, "p50": 1.235, "p90": 2.0, "p95": 2.5, "p99": 3.0, "max": 4.0}
    assert record["durations_ms"] == {"download": download}
    assert record["created_at"] == "2027-01-15T08:00:00.000+00:00"
    assert record["started_at"] is None


def test_a_report_without_successes_and_failures_has_no_rate() -> None:
    empty = report(skipped=1)
    empty.ClearField("success_rate")

    assert report_record(empty)["success_rate"] is None
