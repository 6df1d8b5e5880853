"""What became of a batch, in figures that the rows themselves give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from imagemill import codec
from imagemill.domain.failures import family_of
from imagemill.domain.figures import Figures, HostFigures, Hosts, Spread
from imagemill.domain.items import State
from imagemill.ports.records import Tally
from imagemill.v1 import batch_service_pb2 as api


def make_report(tally: Tally, now: float) -> api.BatchReport:
    """Report on a batch as it was tallied."""
    batch, figures = tally.batch, tally.items
    failed = batch.counts[State.FAILED]
    decided = batch.counts[State.SUCCEEDED] + failed
    return api.BatchReport(
        batch=codec.batch_message(batch),
        create_time=codec.timestamp(now),
        active_duration=codec.duration(batch.active_s),
        success_rate=_ratio(batch.counts[State.SUCCEEDED], decided),
        errors=_errors(figures.errors),
        error_families=_families(figures.errors),
        http_statuses=figures.http_statuses,
        hosts=_hosts(tally.hosts, failed),
        duplicates=figures.duplicates,
        items_per_second=_ratio(batch.counts.final, batch.active_s) or 0.0,
        bytes_per_second=_ratio(figures.downloaded_bytes, batch.active_s) or 0.0,
        attempts_per_success=_ratio(figures.attempts_of_succeeded, figures.succeeded) or 0.0,
        tries=api.Tries(attempts=figures.attempts, retries=figures.retries, quick_retries=figures.quick_retries),
        traffic=_traffic(figures),
        durations_ms={name: _percentiles(spread) for name, spread in figures.durations.items() if spread.count},
        render_cpu_seconds=figures.cpu_ms / 1000.0,
        formats=figures.formats,
        originals=api.OriginalSizes(
            bytes=_buckets(figures.sizes),
            megapixels=_buckets(figures.megapixels),
            longest_side=_buckets(figures.longest_sides),
        ),
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _errors(codes: Counter[str]) -> list[api.CodeCount]:
    ranked = sorted(codes.items(), key=lambda entry: (-entry[1], entry[0]))
    return [api.CodeCount(code=code, count=count, family=family_of(code)) for code, count in ranked]


def _families(codes: Counter[str]) -> Counter[str]:
    families: Counter[str] = Counter()
    for code, count in codes.items():
        families[family_of(code)] += count
    return families


def _hosts(hosts: Hosts, failed: int) -> api.HostReport:
    return api.HostReport(
        total=hosts.total,
        failing=[_host(each) for each in hosts.failing],
        failed_elsewhere=failed - sum(each.failed for each in hosts.failing),
        slowest=[_host(each) for each in hosts.slowest],
    )


def _host(figures: HostFigures) -> api.HostFigures:
    return api.HostFigures(
        host=figures.host,
        items=figures.items,
        failed=figures.failed,
        downloaded_bytes=figures.downloaded_bytes,
        mean_download_ms=figures.mean_download_ms,
    )


def _traffic(figures: Figures) -> api.Traffic:
    return api.Traffic(
        downloaded_bytes=figures.downloaded_bytes,
        duplicate_bytes=figures.duplicate_bytes,
        rendered_bytes=figures.rendered_bytes,
        saved_bytes=figures.saved_bytes,
        rendered_ratio=_ratio(figures.rendered_bytes, figures.downloaded_bytes_of_succeeded),
    )


def _percentiles(spread: Spread) -> api.Percentiles:
    return api.Percentiles(
        p50=spread.percentile(50),
        p90=spread.percentile(90),
        p95=spread.percentile(95),
        p99=spread.percentile(99),
        max=spread.largest,
        mean=spread.mean,
        count=spread.count,
    )


def _buckets(buckets: Iterable[tuple[float, float | None, int]]) -> list[api.Bucket]:
    return [api.Bucket(at_least=lower, below=upper, count=count) for lower, upper, count in buckets]
