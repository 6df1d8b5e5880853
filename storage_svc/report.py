"""What became of a batch, in figures that the rows themselves give."""

from __future__ import annotations

from imagemill import codec
from imagemill.domain.batches import Batch
from imagemill.domain.items import State
from imagemill.ports.records import View
from imagemill.v1 import batch_service_pb2 as api

_DURATIONS = ("download", "decode", "resize", "encode", "store")


async def make_report(view: View, batch: Batch, now: float) -> api.BatchReport:
    """Report on a batch as it stands."""
    counts = batch.counts
    decided = counts[State.SUCCEEDED] + counts[State.FAILED]
    report = api.BatchReport(
        batch=codec.batch_message(batch),
        success_rate=counts[State.SUCCEEDED] / decided if decided else None,
        errors=[api.CodeCount(code=code, count=count) for code, count in await view.error_counts(batch.id)],
        duplicates=batch.duplicates,
        items_per_second=counts.final / batch.active_s if batch.active_s else 0.0,
        bytes_per_second=batch.downloaded_bytes / batch.active_s if batch.active_s else 0.0,
        attempts_per_success=await view.attempts_per_success(batch.id),
        formats=await view.format_counts(batch.id),
        create_time=codec.timestamp(now),
        active_duration=codec.duration(batch.active_s),
    )
    for name in _DURATIONS:
        spread = await view.spread(batch.id, f"{name}_ms")
        if spread is not None:
            report.durations_ms[name].CopyFrom(
                api.Percentiles(p50=spread.p50, p90=spread.p90, p99=spread.p99, max=spread.max)
            )
    return report
