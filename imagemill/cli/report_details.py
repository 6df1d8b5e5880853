"""The part of a report that only those read who want to know more: hosts, answers, sizes, durations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imagemill.cli.progress import readable
from imagemill.v1.batch_service_pb2 import BatchReport, Bucket, HostFigures

HOSTS_SHOWN = 5
LONGEST_HOST = 60
_OPERATIONS = ("download", "decode", "resize", "encode", "store")
_RANKS = {"mean": "mean", "p50": "half", "p90": "9 in 10", "p95": "19 in 20", "p99": "99 in 100", "max": "longest"}


def details(report: BatchReport) -> list[str]:
    """Tell in lines what lies behind the figures of a summary; nothing of what there is nothing of."""
    return [*_failing(report), *_facts(report), *_durations(report), *_slowest(report)]


def _failing(report: BatchReport) -> list[str]:
    hosts = report.hosts.failing[:HOSTS_SHOWN]
    if not hosts:
        return []
    elsewhere = report.batch.progress.failed - sum(host.failed for host in hosts)
    shares = [f"{host.failed:,} of {host.items:,}" for host in hosts]
    rest = [f"{elsewhere:,}"] if elsewhere else []
    width = max(map(len, [*shares, *rest]))
    lines = [f"  {share:>{width}}  {_named(host)}" for share, host in zip(shares, hosts, strict=True)]
    return ["", "Failed by host:", *lines, *(f"  {number:>{width}}  elsewhere" for number in rest)]


def _facts(report: BatchReport) -> list[str]:
    """One line each: what, and how much of it."""
    originals = report.originals
    told = {
        "Answers": _listed({str(status): count for status, count in report.http_statuses.items()}),
        "Formats": _listed(report.formats),
        "Megapixels": _between(originals.megapixels, 1),
        "Kilobytes": _between(originals.bytes, 1000),
        "Attempts": _attempts(report),
        "Pictures": _pictures(report),
        "CPU": f"{report.render_cpu_seconds:,.1f} s for rendering" if report.render_cpu_seconds else "",
    }
    lines = [f"{name + ':':<12}{text}" for name, text in told.items() if text]
    return ["", *lines] if lines else []


def _listed(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{name}: {count:,}" for name, count in ranked)


def _between(buckets: Iterable[Bucket], unit: float) -> str:
    """Name the buckets that hold something, by their bounds in a unit: `0.5 to 1: 12, 1 to 2: 40`."""
    return ", ".join(f"{_bounds(bucket, unit)}: {bucket.count:,}" for bucket in buckets if bucket.count)


def _bounds(bucket: Bucket, unit: float) -> str:
    if not bucket.HasField("below"):
        return f"from {bucket.at_least / unit:g}"
    if not bucket.at_least:
        return f"below {bucket.below / unit:g}"
    return f"{bucket.at_least / unit:g} to {bucket.below / unit:g}"


def _attempts(report: BatchReport) -> str:
    if not report.attempts_per_success:
        return ""
    tries = report.tries
    return (
        f"{report.attempts_per_success:.2f} per success; {_number(tries.retries, 'retry', 'retries')}, "
        f"{_number(tries.quick_retries, 'quick one', 'quick ones')} inside a download"
    )


def _number(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _pictures(report: BatchReport) -> str:
    traffic = report.traffic
    if not traffic.rendered_bytes:
        return ""
    text = f"{_amount(traffic.rendered_bytes)} made"
    if traffic.HasField("rendered_ratio"):
        text += f", {traffic.rendered_ratio * 100:.0f} % of the originals"
    if traffic.saved_bytes:
        text += f"; {_amount(traffic.saved_bytes)} of it shared with duplicates"
    return text


def _amount(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:,.1f} kB"


def _durations(report: BatchReport) -> list[str]:
    spreads = {name: report.durations_ms[name] for name in _OPERATIONS if name in report.durations_ms}
    if not spreads:
        return []
    header = f"{'Milliseconds':<13}" + "".join(f"{title:>10}" for title in _RANKS.values())
    return [
        "",
        header,
        *(
            f"  {name:<11}" + "".join(f"{getattr(spread, rank):>10,.1f}" for rank in _RANKS)
            for name, spread in spreads.items()
        ),
    ]


def _slowest(report: BatchReport) -> list[str]:
    hosts = report.hosts.slowest[:HOSTS_SHOWN]
    # Of one host everybody knows that it is the slowest.
    if len(hosts) < 2:
        return []
    lines = [f"  {host.mean_download_ms:>10,.1f}  {_named(host)}" for host in hosts]
    return ["", "Slowest hosts (mean milliseconds of a download):", *lines]


def _named(host: HostFigures) -> str:
    return readable(host.host, LONGEST_HOST)
