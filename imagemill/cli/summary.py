"""What a run says at its end."""

from __future__ import annotations

from imagemill.cli.advice import advice_for
from imagemill.cli.options import RunOptions
from imagemill.cli.progress import counts_text, duration_text, readable
from imagemill.cli.report_details import details
from imagemill.client import state_word
from imagemill.domain.failures import FailureCode
from imagemill.domain.names import UNDECODABLE
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import BatchReport

LONGEST_NAME = 80


def summary(report: BatchReport, options: RunOptions, *, retriable: bool = True) -> str:
    """Say what became of the batch, what failed and why, and where everything lies.

    `retriable` is false after the mill has said that nothing of what failed can be tried again.
    """
    lines = ["", *_figures(report)]
    if retriable and may_be_retried(report):
        lines.append("To try them again: the same command with --retry-failed.")
    lines += _places(report.batch, options)
    return "\n".join(lines)


def batch_end(report: BatchReport, reached: str, pictures: str) -> str:
    """Say what became of a batch that a mill works off elsewhere, and where more is to be learnt.

    `reached` is what a command needs to reach that mill, such as ` --to 127.0.0.1:50052`; `pictures` says where it
    keeps the batch's pictures.
    """
    batch_id = report.batch.name.removeprefix("batches/")
    lines = ["", *_figures(report), ""]
    if report.batch.progress.failed:
        lines.append(f"Failed items: imagemill items {batch_id} --state failed{reached}")
    if may_be_retried(report):
        lines.append(f"Another try:  imagemill retry {batch_id}{reached}")
    lines.append(f"Pictures:     {pictures}")
    return "\n".join(lines)


def report_text(report: BatchReport) -> str:
    """Say in figures what has become of a batch."""
    batch = report.batch
    lines = [f"{batch.name}  {readable(batch.display_name, LONGEST_NAME)}  {state_word(batch)}".rstrip()]
    return "\n".join([*lines, *_figures(report), *details(report)])


def _figures(report: BatchReport) -> list[str]:
    lines = [f"{counts_text(report.batch.progress)}.", _pace(report)]
    if report.duplicates:
        noun = "picture is" if report.duplicates == 1 else "pictures are"
        lines.append(f"{report.duplicates:,} {noun} the same as an earlier one (column duplicate_of).")
    return lines + _errors(report)


def interrupted(done: int, total: int) -> str:
    """Say where a stopped run stands and how it goes on."""
    if not total:
        return "Stopped before the list was read. Run the same command again to begin."
    return f"Stopped: {done:,} of {total:,} done. Run the same command again to go on."


def _pace(report: BatchReport) -> str:
    seconds = report.active_duration.ToTimedelta().total_seconds()
    megabytes = report.batch.progress.downloaded_bytes / 1e6
    # A rate over less than a second says nothing.
    rate = f" at {report.items_per_second:,.1f} items/s" if seconds >= 1 else ""
    return f"Took {duration_text(seconds)}{rate}; {megabytes:,.1f} MB downloaded."


def _errors(report: BatchReport) -> list[str]:
    if not report.errors:
        return []
    width = max(len(entry.code) for entry in report.errors)
    most = max(len(f"{entry.count:,}") for entry in report.errors)
    return [
        "",
        "Failed:",
        *(f"  {entry.count:>{most},}  {entry.code:<{width}}  {advice_for(entry.code)}" for entry in report.errors),
    ]


def may_be_retried(report: BatchReport) -> bool:
    """Whether something failed that another try may cure; a line that is no URL stays one."""
    return any(entry.code != FailureCode.SOURCE_INVALID for entry in report.errors)


def _places(batch: Batch, options: RunOptions) -> list[str]:
    lines = ["", f"Manifest: {options.out / 'manifest.csv'}", f"Report:   {options.out / 'report.json'}"]
    if batch.progress.succeeded:
        lines.insert(1, f"Pictures: {options.out}")
    if batch.keep_undecodable and (options.out / UNDECODABLE).is_dir():
        lines.append(f"Aside:    {options.out / UNDECODABLE}")
    return lines
