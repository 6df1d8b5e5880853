"""Batches, items and reports as plain mappings, as they stand in JSON lines and in `report.json`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from imagemill.client import state_word
from imagemill.domain.names import picture_name, undecodable_name
from imagemill.v1.batch_pb2 import Batch, Item, Progress, Render
from imagemill.v1.batch_service_pb2 import BatchReport, Bucket, HostFigures, HostReport, Percentiles

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
    return state_word(item).upper()


def counts_record(progress: Progress) -> dict[str, int]:
    """Count the items by state."""
    return {name: getattr(progress, name) for name in _COUNTS}


def batch_record(batch: Batch) -> dict[str, object]:
    """Describe a batch and how far it has come; times in seconds."""
    progress = batch.progress
    return {
        "name": batch.name,
        "state": state_word(batch).upper(),
        "revision": batch.revision,
        "counts": counts_record(progress),
        "downloaded_bytes": progress.downloaded_bytes,
        "items_per_second": round(progress.items_per_second, 3),
        "eta_s": _seconds(progress.eta) if progress.HasField("eta") else None,
    }


def batch_details(batch: Batch) -> dict[str, object]:
    """Describe a batch in full, as `list` and `get` tell of it."""
    return {
        **batch_record(batch),
        "display_name": batch.display_name,
        "priority": batch.priority,
        "keep_originals": batch.keep_originals,
        "keep_undecodable": batch.keep_undecodable,
        "labels": dict(sorted(batch.labels.items())),
        "variants": [variant.name for variant in batch.recipe.variants],
        "recipe_fingerprint": batch.recipe_fingerprint,
        **_moments(batch),
    }


def _moments(batch: Batch) -> dict[str, object]:
    return {
        "created_at": _iso(batch.create_time),
        "started_at": _iso(batch.start_time) if batch.HasField("start_time") else None,
        "ended_at": _iso(batch.end_time) if batch.HasField("end_time") else None,
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
    if tries := item.original.tries or item.failure.tries:
        record["tries"] = tries
    if item.HasField("original"):
        record |= {"sha256": item.original.sha256, "bytes": item.original.size_bytes}
        facts = {name: getattr(item.original, name) for name in ("format", "width", "height")}
        record |= {name: fact for name, fact in facts.items() if fact}
        record["warnings"] = list(item.original.warnings)
        if aside := undecodable_path(item):
            record["undecodable"] = aside
    if item.HasField("duplicate_of"):
        record["duplicate_of"] = item.duplicate_of
    if item.HasField("timings"):
        timings = {name: round(getattr(item.timings, name), 3) for name in (*TIMINGS, "cpu_ms")}
        record["timings"] = {name: value for name, value in timings.items() if value}
    if item.renders:
        record["renders"] = [_render_record(item, render) for render in item.renders]
    return record


def picture_path(item: Item, render: Render) -> str:
    """Return where the picture lies, relative to the output folder; empty until its item has succeeded."""
    if item.state != Item.STATE_SUCCEEDED:
        return ""
    return picture_name(item.index, item.source, render.variant, render.format)


def undecodable_path(item: Item) -> str:
    """Return where the bytes that could not be decoded lie, relative to the output folder; empty if nowhere."""
    if item.state != Item.STATE_FAILED or not item.original.undecodable_key:
        return ""
    return undecodable_name(item.index, item.source, item.original.format)


def _render_record(item: Item, render: Render) -> dict[str, object]:
    facts = {name: getattr(render, name) for name in ("format", "width", "height", "size_bytes")}
    known = {name: fact for name, fact in facts.items() if fact}
    link = {"url": render.url} if render.url else {}
    return {"variant": render.variant, "path": picture_path(item, render), **known, **link}


def report_record(report: BatchReport) -> dict[str, object]:
    """Describe what became of a batch: the content of `report.json`."""
    batch = report.batch
    return {
        "batch": batch.name,
        "state": state_word(batch).upper(),
        "input": dict(sorted(batch.labels.items())),
        "recipe_fingerprint": batch.recipe_fingerprint,
        "counts": counts_record(batch.progress),
        "success_rate": report.success_rate if report.HasField("success_rate") else None,
        "errors": {entry.code: entry.count for entry in report.errors},
        "error_families": _most_first(report.error_families),
        "http_statuses": {str(status): count for status, count in _most_first(report.http_statuses).items()},
        "hosts": _hosts_record(report.hosts),
        "attempts": report.tries.attempts,
        "retries": report.tries.retries,
        "quick_retries": report.tries.quick_retries,
        "attempts_per_success": round(report.attempts_per_success, 3),
        **_traffic_record(report),
        "items_per_second": round(report.items_per_second, 3),
        "bytes_per_second": round(report.bytes_per_second),
        "active_s": _seconds(report.active_duration),
        "durations_ms": {name: _spread_record(report.durations_ms[name]) for name in sorted(report.durations_ms)},
        "render_cpu_s": round(report.render_cpu_seconds, 3),
        "formats": _most_first(report.formats),
        "originals": {
            name: [_bucket_record(bucket) for bucket in getattr(report.originals, name)]
            for name in ("bytes", "megapixels", "longest_side")
        },
        **_moments(batch),
    }


NumberT = TypeVar("NumberT", int, str)


def _most_first(counts: Mapping[NumberT, int]) -> dict[NumberT, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _hosts_record(hosts: HostReport) -> dict[str, object]:
    return {
        "total": hosts.total,
        "failing": [_host_record(each) for each in hosts.failing],
        "failed_elsewhere": hosts.failed_elsewhere,
        "slowest": [_host_record(each) for each in hosts.slowest],
    }


def _host_record(host: HostFigures) -> dict[str, object]:
    counts = {name: getattr(host, name) for name in ("host", "items", "failed", "downloaded_bytes")}
    return {**counts, "mean_download_ms": round(host.mean_download_ms, 3)}


def _traffic_record(report: BatchReport) -> dict[str, object]:
    traffic = report.traffic
    return {
        "downloaded_bytes": traffic.downloaded_bytes,
        "duplicates": report.duplicates,
        "duplicate_bytes": traffic.duplicate_bytes,
        "rendered_bytes": traffic.rendered_bytes,
        "saved_bytes": traffic.saved_bytes,
        "rendered_ratio": round(traffic.rendered_ratio, 4) if traffic.HasField("rendered_ratio") else None,
    }


def _spread_record(spread: Percentiles) -> dict[str, float]:
    ranks = ("mean", "p50", "p90", "p95", "p99", "max")
    return {"count": spread.count, **{rank: round(getattr(spread, rank), 3) for rank in ranks}}


def _bucket_record(bucket: Bucket) -> dict[str, object]:
    below = bucket.below if bucket.HasField("below") else None
    return {"at_least": bucket.at_least, "below": below, "count": bucket.count}


def reports_end_of(record: Mapping[str, object], batch: Batch) -> bool:
    """Whether a record that `report_record` made is that of the batch's present end."""
    moments = _moments(batch)
    return moments["ended_at"] is not None and all(record.get(name) == moment for name, moment in moments.items())


def _seconds(duration: Duration) -> float:
    return round(duration.ToTimedelta().total_seconds(), 3)


def _iso(time: Timestamp) -> str:
    return time.ToDatetime(tzinfo=UTC).isoformat(timespec="milliseconds")
