"""What a run says at its end."""

from __future__ import annotations

from imagemill.cli.advice import advice_for
from imagemill.cli.options import RunOptions
from imagemill.cli.progress import duration_text
from imagemill.domain.failures import FailureCode
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import BatchReport


def summary(report: BatchReport, options: RunOptions, *, retriable: bool = True) -> str:
    """Say what became of the batch, what failed and why, and where everything lies.

    `retriable` is false after the mill has said that nothing of what failed can be tried again.
    """
    lines = ["", _totals(report.batch), _pace(report)]
    if report.duplicates:
        noun = "picture is" if report.duplicates == 1 else "pictures are"
        lines.append(f"{report.duplicates:,} {noun} the same as an earlier one (column duplicate_of).")
    lines += _errors(report, retriable)
    lines += _places(report.batch, options)
    return "\n".join(lines)


def interrupted(done: int, total: int) -> str:
    """Say where a stopped run stands and how it goes on."""
    if not total:
        return "Stopped before the list was read. Run the same command again to begin."
    return f"Stopped: {done:,} of {total:,} done. Run the same command again to go on."


def _totals(batch: Batch) -> str:
    progress = batch.progress
    parts = [f"{progress.succeeded:,} succeeded"]
    for count, word in (
        (progress.failed, "failed"),
        (progress.skipped, "skipped"),
        (progress.cancelled, "cancelled"),
    ):
        if count:
            parts.append(f"{count:,} {word}")
    noun = "item" if progress.total == 1 else "items"
    return f"{progress.total:,} {noun}: {', '.join(parts)}."


def _pace(report: BatchReport) -> str:
    seconds = report.active_duration.ToTimedelta().total_seconds()
    megabytes = report.batch.progress.downloaded_bytes / 1e6
    # A rate over less than a second says nothing.
    rate = f" at {report.items_per_second:,.1f} items/s" if seconds >= 1 else ""
    return f"Took {duration_text(seconds)}{rate}; {megabytes:,.1f} MB downloaded."


def _errors(report: BatchReport, retriable: bool) -> list[str]:
    if not report.errors:
        return []
    width = max(len(entry.code) for entry in report.errors)
    most = max(len(f"{entry.count:,}") for entry in report.errors)
    return [
        "",
        "Failed:",
        *(f"  {entry.count:>{most},}  {entry.code:<{width}}  {advice_for(entry.code)}" for entry in report.errors),
        *_another_try(report, retriable),
    ]


def _another_try(report: BatchReport, retriable: bool) -> list[str]:
    # A line that is no URL stays one, however often it is tried.
    if not retriable or all(entry.code == FailureCode.SOURCE_INVALID for entry in report.errors):
        return []
    return ["To try them again: the same command with --retry-failed."]


def _places(batch: Batch, options: RunOptions) -> list[str]:
    lines = ["", f"Manifest: {options.out / 'manifest.csv'}", f"Report:   {options.out / 'report.json'}"]
    if batch.progress.succeeded:
        lines.insert(1, f"Pictures: {options.out}")
    return lines
