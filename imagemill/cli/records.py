"""Batches, items and reports as plain mappings, as they stand in JSON lines and in `report.json`."""

from __future__ import annotations

from datetime import UTC

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from imagemill.domain.names import picture_name
from imagemill.v1.batch_pb2 import Batch, Item, Progress, Render
from imagemill.v1.batch_service_pb2 import BatchReport

_COUNTS = (
    "total",
    "pending",
    "queued",
    "downloading",
    "downloaded",
    "processing",
    "succeeded",
    "failed",
    "skipped",
    "cancelled",
)
TIMINGS = ("download_ms", "decode_ms", "resize_ms", "encode_ms", "store_ms")


def state_name(item: Item) -> str:
    """Return an item's state as one word: `SUCCEEDED`."""
    return Item.State.Name(item.state).removeprefix("STATE_")


def counts_record(progress: Progress) -> dict[str, int]:
    """Count the items by state."""
    return {name: getattr(progress, name) for name in _COUNTS}


def batch_record(batch: Batch) -> dict[str, object]:
    """Describe a batch and how far it has come; times in seconds."""
    progress = batch.progress
    return {
        "name": batch.name,
        "state": Batch.State.Name(batch.state).removeprefix("STATE_"),
        "revision": batch.revision,
        "counts": counts_record(progress),
        "downloaded_bytes": progress.downloaded_bytes,
        "items_per_second": round(progress.items_per_second, 3),
        "eta_s": _seconds(progress.eta) if progress.HasField("eta") else None,
    }


def item_record(item: Item) -> dict[str, object]:
    """Describe an item; what is not known yet is left out."""
    record: dict[str, object] = {
        "index": item.index,
        "source": item.source,
        "source_row": item.source_row,
        "state": state_name(item),
        "attempts": item.attempts,
        "revision": item.revision,
    }
    if item.HasField("failure"):
        record["error_code"] = item.failure.code
        record["error_message"] = item.failure.message
    if status := item.failure.http_status or item.original.http_status:
        record["http_status"] = status
    if item.HasField("original"):
        record |= {"sha256": item.original.sha256, "bytes": item.original.size_bytes}
        facts = {name: getattr(item.original, name) for name in ("format", "width", "height")}
        record |= {name: fact for name, fact in facts.items() if fact}
        record["warnings"] = list(item.original.warnings)
    if item.HasField("duplicate_of"):
        record["duplicate_of"] = item.duplicate_of
    if item.HasField("timings"):
        record["timings"] = {name: round(getattr(item.timings, name), 3) for name in TIMINGS}
    if item.renders:
        record["renders"] = [_render_record(item, render) for render in item.renders]
    return record


def picture_path(item: Item, render: Render) -> str:
    """Return where the picture lies, relative to the output folder; empty until its item has succeeded."""
    if item.state != Item.STATE_SUCCEEDED:
        return ""
    return picture_name(item.index, item.source, render.variant, render.format)


def _render_record(item: Item, render: Render) -> dict[str, object]:
    facts = {name: getattr(render, name) for name in ("format", "width", "height", "size_bytes")}
    known = {name: fact for name, fact in facts.items() if fact}
    return {"variant": render.variant, "path": picture_path(item, render), **known}


def report_record(report: BatchReport) -> dict[str, object]:
    """Describe what became of a batch: the content of `report.json`."""
    batch = report.batch
    return {
        "batch": batch.name,
        "state": Batch.State.Name(batch.state).removeprefix("STATE_"),
        "input": dict(sorted(batch.labels.items())),
        "recipe_fingerprint": batch.recipe_fingerprint,
        "counts": counts_record(batch.progress),
        "success_rate": report.success_rate if report.HasField("success_rate") else None,
        "errors": {entry.code: entry.count for entry in report.errors},
        "duplicates": report.duplicates,
        "formats": dict(sorted(report.formats.items(), key=lambda entry: (-entry[1], entry[0]))),
        "attempts_per_success": round(report.attempts_per_success, 3),
        "downloaded_bytes": batch.progress.downloaded_bytes,
        "items_per_second": round(report.items_per_second, 3),
        "bytes_per_second": round(report.bytes_per_second),
        "active_s": _seconds(report.active_duration),
        "durations_ms": {
            name: {rank: round(getattr(values, rank), 3) for rank in ("p50", "p90", "p99", "max")}
            for name, values in sorted(report.durations_ms.items())
        },
        "created_at": _iso(batch.create_time),
        "started_at": _iso(batch.start_time) if batch.HasField("start_time") else None,
        "ended_at": _iso(batch.end_time) if batch.HasField("end_time") else None,
    }


def _seconds(duration: Duration) -> float:
    return round(duration.ToTimedelta().total_seconds(), 3)


def _iso(time: Timestamp) -> str:
    return time.ToDatetime(tzinfo=UTC).isoformat(timespec="milliseconds")
