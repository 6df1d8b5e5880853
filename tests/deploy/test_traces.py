"""Traces of a real run: four services, both queues, and a collector that keeps what it is sent."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import grpc
import pytest

from imagemill.v1 import batch_pb2, recipe_pb2
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub
from tests.support.cluster import Cluster, open_cluster
from tests.support.collector import Collector, Seen, open_collector
from tests.support.eventually import eventually_blocking
from tests.support.picture_server import picture, serve_in_thread, status
from tests.support.pictures import jpeg

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TOLD = {"TRACE_SAMPLE": "1", "LOG_FORMAT": "json", "LOG_LEVEL": "debug", "RETRY_DELAY_S": "0.1", "QUICK_RETRIES": "0"}
GOOD, GONE, FLAKY = range(3)


@dataclass(frozen=True)
class Traced:
    """A batch that is done, with all that was told of it."""

    spans: Sequence[Seen]
    items: Mapping[int, Sequence[Seen]]
    """The spans of each item, by its index."""
    log: str


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, rabbitmq_server: str, postgres_server: str) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("traced")
    with (
        pytest.MonkeyPatch.context() as environment,
        open_collector() as collector,
        serve_in_thread() as server,
        open_cluster(folder, rabbitmq_server, postgres_server, told=TOLD) as cluster,
    ):
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{collector.target}")
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        cluster.start()
        cluster.until_serving()
        urls = [
            server.route("/good.jpg", picture(jpeg())),
            server.route("/gone.jpg", status(404)),
            server.route("/flaky.jpg", status(503), picture(jpeg(seed=2))),
        ]
        create(cluster, urls)
        eventually_blocking(lambda: names(collector).count("item") == len(urls), timeout_s=30.0)
        cluster.stop()
        by_item = defaultdict(list)
        for span in collector.spans:
            if "imagemill.item" in span.facts:
                by_item[int(span.facts["imagemill.item"])].append(span)
        yield Traced(collector.spans, by_item, cluster.logs())


def create(cluster: Cluster, urls: Sequence[str]) -> None:
    """Hand a batch in, as a program does that has a trace of its own."""
    variant = recipe_pb2.Variant(name="small", width=64, height=64, format=recipe_pb2.Variant.FORMAT_JPEG)
    recipe = recipe_pb2.Recipe(variants=[variant])
    request = api.CreateBatchRequest(
        spec=api.BatchSpec(batch=batch_pb2.Batch(recipe=recipe)), items=[api.ItemSource(uri=url) for url in urls]
    )
    with grpc.insecure_channel(cluster.target) as channel:
        metadata = (("traceparent", f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"),)
        BatchServiceStub(channel).CreateBatch(request, timeout=10.0, metadata=metadata)


def names(collector: Collector) -> list[str]:
    return [span.name for span in collector.spans]


def only(spans: Sequence[Seen], name: str) -> Seen:
    (found,) = [span for span in spans if span.name == name]
    return found


def test_the_callers_trace_goes_on_in_the_gateway(traced: Traced) -> None:
    call = only(traced.spans, "imagemill.v1.BatchService/CreateBatch")

    assert (call.service, call.trace_id, call.parent_id) == ("imagemill-gateway", CALLER_TRACE, CALLER_SPAN)
    assert not call.failed


def test_each_item_has_one_trace_through_all_services_that_links_to_the_call(traced: Traced) -> None:
    call = only(traced.spans, "imagemill.v1.BatchService/CreateBatch")
    for spans in traced.items.values():
        root = only(spans, "item")
        assert {span.trace_id for span in spans} == {root.trace_id}
        assert {span.parent_id for span in spans if span is not root} == {root.span_id}
        assert (root.parent_id, root.links) == ("", ((call.trace_id, call.span_id),))
    assert len({only(spans, "item").trace_id for spans in traced.items.values()}) == len(traced.items) == 3


def test_the_steps_of_an_item_are_told_by_those_who_took_them_in_their_order(traced: Traced) -> None:
    spans = traced.items[GOOD]
    steps = [
        (step, only(spans, step).service)
        for step in ("dispatch", "download", "process")
        if only(spans, step).start <= only(spans, step).end
    ]

    assert steps == [
        ("dispatch", "imagemill-gateway"),
        ("download", "imagemill-downloader"),
        ("process", "imagemill-processor"),
    ]
    assert only(spans, "dispatch").start < only(spans, "download").start < only(spans, "process").start
    folds = [span for span in spans if span.name == "fold"]
    assert {span.service for span in folds} == {"imagemill-storage"}
    assert max(folds, key=lambda span: span.end).facts["imagemill.state"] == "SUCCEEDED"
    root = only(spans, "item")
    assert root.start <= min(span.start for span in spans) + 1_000_000
    assert root.end >= only(spans, "process").end


def test_a_failure_is_told_by_its_code_where_it_happened_and_at_the_root(traced: Traced) -> None:
    download, root = only(traced.items[GONE], "download"), only(traced.items[GONE], "item")

    assert (download.failed, download.facts["error.type"]) == (True, "SOURCE_NOT_FOUND")
    assert (root.failed, root.facts["imagemill.error_code"]) == (True, "SOURCE_NOT_FOUND")
    assert not any(span.failed for span in traced.items[GOOD])


def test_all_attempts_of_an_item_are_in_its_one_trace(traced: Traced) -> None:
    downloads = [span for span in traced.items[FLAKY] if span.name == "download"]

    assert [
        (span.facts["imagemill.attempt"], span.failed) for span in sorted(downloads, key=lambda span: span.start)
    ] == [
        (0, True),
        (1, False),
    ]


def test_lines_of_the_log_name_the_trace_and_the_item(traced: Traced) -> None:
    lines = [json.loads(line) for line in traced.log.splitlines() if line.startswith("{")]
    final = {line["item"]: line["trace_id"] for line in lines if line.get("action") == "item_final"}

    assert final == {index: only(spans, "item").trace_id for index, spans in traced.items.items()}


def test_no_span_holds_a_url(traced: Traced) -> None:
    assert not [span for span in traced.spans if any("http:" in str(value) for value in span.facts.values())]
