"""The metrics of a process, for Prometheus: a page that its server reads again and again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING

from imagemill import __version__
from imagemill.runtime import metrics
from imagemill.runtime.metric_kinds import Counter, Gauge, Histogram, Metric

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

log = logging.getLogger(__name__)


class MetricsUnexposed(OSError):
    """The address for the metrics can't be listened on; the text says why, for its owner."""


@contextmanager
def exposed(address: str | None, services: Sequence[str]) -> Iterator[None]:
    """Serve the metrics that these services have at `http://ADDRESS/metrics` while the block lasts; None serves none.

    It is answered by a thread of its own, so also while the event loop is busy. Raises `MetricsUnexposed`.
    """
    if address is None:
        yield
        return
    # Nobody else waits for these.
    from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

    registry = CollectorRegistry()
    registry.register(_Reader(services))
    ProcessCollector(registry=registry)
    metrics.BUILD_INFO.set(1, __version__)
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        raise MetricsUnexposed(
            f"{address} can't be listened on for metrics: {error.strerror}. Set IMAGEMILL_METRICS_LISTEN to another "
            "address, or to none."
        ) from error
    log.info("Metrics are at http://%s:%d/metrics.", host, server.server_port, extra={"action": "metrics_exposed"})
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Reader:
    """Reads the numbers when they are asked for. Each is one Python object, so what is read is never half written."""

    def __init__(self, services: Sequence[str]) -> None:
        self._metrics = [each for each in metrics.ALL if not set(services).isdisjoint(each.services)]

    def collect(self) -> Iterable[Family]:
        """Every metric in the form of Prometheus's library."""
        return [_family(metric) for metric in self._metrics]


def _family(metric: Metric) -> Family:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if isinstance(metric, Histogram):
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, spread in list(metric.spreads.items()):
            histogram.add_metric(labels, _buckets(metric.bounds, spread.counts), spread.total)
        return histogram
    if isinstance(metric, Counter):
        counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in list(metric.values.items()):
            counter.add_metric(labels, value)
        return counter
    assert isinstance(metric, Gauge)
    gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in metric.read().items():
        gauge.add_metric(labels, value)
    return gauge


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Prometheus's buckets, each of which holds all smaller ones."""
    return [
        ("+Inf" if bound == inf else repr(float(bound)), count)
        for bound, count in zip((*bounds, inf), accumulate(counts), strict=True)
    ]
