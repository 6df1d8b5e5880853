"""A collector of traces that keeps what it is sent: OTLP over gRPC, as every real one speaks it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as it was sent."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[tuple[str, str], ...]
    """Trace and span of each."""
    start: int
    end: int
    failed: bool
    facts: dict[str, Any]


class Collector(TraceServiceServicer):
    """Keeps every span."""

    def __init__(self) -> None:
        self.target = ""
        self._spans: list[Seen] = []
        self._lock = threading.Lock()

    @property
    def spans(self) -> list[Seen]:
        """What has come so far."""
        with self._lock:
            return list(self._spans)

    def Export(
        self, request: otlp.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> otlp.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            told = {each.key: each.value.string_value for each in resource.resource.attributes}
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            with self._lock:
                self._spans += [_seen(told["service.name"], span) for span in spans]
        return otlp.ExportTraceServiceResponse()


@contextmanager
def open_collector() -> Iterator[Collector]:
    """Collect on a free port for the length of the block."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # generated
    collector.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def _seen(service: str, span: Any) -> Seen:
    return Seen(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == Status.STATUS_CODE_ERROR,
        {each.key: each.value.string_value or each.value.int_value for each in span.attributes},
    )
