"""Metrics: what they are called, what they may be labelled with, and how they are shown."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from imagemill.domain.failures import FailureCode
from imagemill.runtime import exposition, metrics
from imagemill.runtime.metric_kinds import Counter, Gauge, Histogram, Metric
from tests.guards.tree import ROOT

REFERENCE = ROOT / "docs" / "reference" / "metrics.md"
BOUNDED = {
    "state", "error_code", "operation", "queue", "kind", "reason", "outcome", "of", "method", "code", "part", "version",
}  # fmt: skip
"""Labels whose values the code knows, or of which a process sees a handful."""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def shown(port: int, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric on the page."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in samples}


@pytest.mark.parametrize("metric", metrics.ALL, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"imagemill_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == isinstance(metric, Counter)
    if isinstance(metric, Histogram):
        assert metric.name.endswith(("_seconds", "_bytes", "_events"))
        assert list(metric.bounds) == sorted(set(metric.bounds))
    if "SECONDS" in metric.help.upper() or "age" in metric.name.split("_"):
        assert metric.name.endswith(("_seconds", "_seconds_total"))


def test_labels_are_of_few_values() -> None:
    assert {label for metric in metrics.ALL for label in metric.labels} == BOUNDED


def test_every_error_code_is_a_series_from_the_start() -> None:
    assert {code for state, code in metrics.ITEMS_FINISHED.values if state == "FAILED"} >= set(FailureCode)


def test_the_page_shows_what_was_counted_measured_and_set(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[Metric] = []
    monkeypatch.setattr("imagemill.runtime.metric_kinds.ALL", known)
    monkeypatch.setattr(metrics, "ALL", known)
    counter = Counter("t_total", "Things.", services=("gateway",), labels=("kind",), known=(("a", "b"),))
    gauge = Gauge("t_now", "Now.", services=("gateway",))
    histogram = Histogram("t_seconds", "Time.", services=("gateway",), bounds=(1, 2))
    Counter("other_total", "Not the gateway's.", services=("storage",))
    counter.add("a")
    counter.add("a", by=2)
    for value in (0.5, 1, 1.5, 9):
        histogram.observe(value)
    port = free_port()

    with exposition.exposed(f"127.0.0.1:{port}", ["gateway"]):
        with gauge.read_from(lambda: 3), gauge.read_from(lambda: 4):
            assert shown(port, "t_now") == {(): 7}
        gauge.set(1)
        with gauge.held():
            assert shown(port, "t_now") == {(): 2}
        assert shown(port, "t_total") == {("a",): 3, ("b",): 0}
        assert shown(port, "t_seconds_bucket") == {("1.0",): 2, ("2.0",): 3, ("+Inf",): 4}
        assert shown(port, "t_seconds_sum") == {(): 12}
        assert shown(port, "other_total") == {}
        assert shown(port, "process_resident_memory_bytes")[()] > 1_000_000


def test_a_port_that_is_taken_is_told_with_what_to_do() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with (
            pytest.raises(exposition.MetricsUnexposed, match=r"Address already in use\. Set IMAGEMILL_METRICS_LISTEN"),
            exposition.exposed(f"127.0.0.1:{port}", ["gateway"]),
        ):
            pass


def test_nothing_is_loaded_for_metrics_or_traces_that_nobody_wants(tmp_path: Path) -> None:
    modules = "gateway.process, downloader_svc.process, processor_svc.process, storage_svc.process, imagemill.embedded"
    code = f"import sys, {modules}\nprint(sorted({{'prometheus_client', 'opentelemetry'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)

    assert done.stdout == "[]\n", done.stderr


def row(metric: Metric) -> str:
    """Return the line of a metric in the reference."""
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "\N{EN DASH}"
    services = "all" if set(metric.services) == set(metrics.SERVICES) else ", ".join(metric.services)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {services} | {metric.help} |"


def test_each_metric_stands_in_the_reference_as_it_is_declared() -> None:
    lines = [line for line in REFERENCE.read_text(encoding="utf-8").splitlines() if line.startswith("| `imagemill_")]

    assert lines == [row(metric) for metric in metrics.ALL]
