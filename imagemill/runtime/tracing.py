"""What `traces` does when it is on: OpenTelemetry's spans, and where they go."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from importlib.metadata import entry_points
from typing import Any

import grpc
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from imagemill import __version__
from imagemill.domain.failures import PipelineError
from imagemill.runtime.traces import TracesUnsent

EXPORTERS = {"otlp": "otlp_proto_grpc", "console": "console"}
"""What OTEL_TRACES_EXPORTER may name, with the names under which they are installed."""
LEAVE_S = 2.0
"""How long a collector may take for what is left at the end, in seconds."""
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""The codes that are the server's fault, by OpenTelemetry's conventions."""
_RATIO_BITS = 64


class Tracer:
    """Makes spans and sends them away."""

    def __init__(self, share: float, service: str) -> None:
        """Raises `TracesUnsent` for an exporter that there is not."""
        self._bound = round(share * 2**_RATIO_BITS)
        self._ids = _Ids()
        known = Resource({"service.name": f"imagemill-{service}", "service.version": __version__})
        # What is chosen is chosen here; a call without a caller's trace is always worth one.
        self._provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON),
            resource=known.merge(OTELResourceDetector().detect()),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        for exporter in _exporters():
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("imagemill", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def close(self) -> None:
        """Send what is left; a collector that is away must not keep the process."""
        leaving = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        leaving.start()
        leaving.join(LEAVE_S)

    @contextmanager
    def call(self, method: str, context: Any) -> Iterator[None]:
        """See `traces.call`."""
        told = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        facts = {"rpc.system": "grpc", "rpc.service": "imagemill.v1.BatchService", "rpc.method": method}
        with self._tracer.start_as_current_span(
            f"{facts['rpc.service']}/{method}",
            self._propagator.extract(told),
            kind=SpanKind.SERVER,
            attributes=facts,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            code = grpc.StatusCode.OK
            try:
                yield
            except Exception as error:
                code = _code_of(error)
                raise
            finally:
                span.set_attribute("rpc.grpc.status_code", code.value[0])
                if code.name in _FAULTS:
                    span.set_status(Status(StatusCode.ERROR, code.name))

    def present(self) -> str:
        """See `traces.present`."""
        carrier: dict[str, str] = {}
        if get_current_span().get_span_context().trace_flags.sampled:
            self._propagator.inject(carrier)
        return carrier.get("traceparent", "")

    def present_id(self) -> str:
        """See `traces.present_id`."""
        context = get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else ""

    def id_of(self, trace: str, batch_id: str, index: int) -> str:
        """See `traces.id_of`."""
        root = self._root(trace, batch_id, index)
        return f"{root.trace_id:032x}" if root is not None else ""

    @contextmanager
    def dispatched(self, trace: str, batch_id: str, items: Sequence[tuple[int, int]]) -> Iterator[None]:
        """See `traces.dispatched`."""
        spans = [
            self._tracer.start_span(
                "dispatch",
                _under(root),
                kind=SpanKind.PRODUCER,
                attributes=_item(batch_id, index) | {"imagemill.attempt": attempt},
            )
            for index, attempt in items
            if (root := self._root(trace, batch_id, index)) is not None
        ]
        try:
            yield
        except BaseException as error:
            for span in spans:
                _blame(span, error)
            raise
        finally:
            for span in spans:
                span.end()

    @contextmanager
    def handled(self, queue: str, trace: str, batch_id: str, index: int, attempt: int) -> Iterator[None]:
        """See `traces.handled`."""
        root = self._root(trace, batch_id, index)
        if root is None:
            yield
            return
        with self._tracer.start_as_current_span(
            queue.rpartition(".")[2],
            _under(root),
            kind=SpanKind.CONSUMER,
            attributes=_item(batch_id, index) | {"imagemill.attempt": attempt},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                _blame(span, error)
                raise

    def moved(
        self, step: str, trace: str, batch_id: str, index: int, began: float, facts: Mapping[str, str | int]
    ) -> None:
        """See `traces.moved`."""
        if (root := self._root(trace, batch_id, index)) is not None:
            attributes = _item(batch_id, index) | _named(facts)
            span = self._tracer.start_span(step, _under(root), attributes=attributes, start_time=_nanoseconds(began))
            span.end()

    def ended(self, trace: str, batch_id: str, index: int, began: float, facts: Mapping[str, str | int]) -> None:
        """See `traces.ended`."""
        root = self._root(trace, batch_id, index)
        if root is None:
            return
        with self._ids.given(root):
            span = self._tracer.start_span(
                "item",
                Context(),
                attributes=_item(batch_id, index) | _named(facts),
                links=[Link(get_current_span(self._propagator.extract({"traceparent": trace})).get_span_context())],
                start_time=_nanoseconds(began),
            )
        if code := facts.get("error_code"):
            span.set_status(Status(StatusCode.ERROR, str(code)))
        span.end()

    def _root(self, trace: str, batch_id: str, index: int) -> SpanContext | None:
        """The context of an item's root span; None when the item is not traced."""
        digest = blake2b(f"{trace}/{batch_id}/{index}".encode(), digest_size=24).digest()
        trace_id, span_id = int.from_bytes(digest[:16]), int.from_bytes(digest[16:])
        if trace_id % 2**_RATIO_BITS >= self._bound:
            return None
        return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class _Ids(RandomIdGenerator):
    """Ids by chance, but for the roots of items."""

    def __init__(self) -> None:
        self._next: SpanContext | None = None

    @contextmanager
    def given(self, ids: SpanContext) -> Iterator[None]:
        self._next = ids
        try:
            yield
        finally:
            self._next = None

    def generate_trace_id(self) -> int:
        return self._next.trace_id if self._next is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self._next.span_id if self._next is not None else super().generate_span_id()


def _exporters() -> list[SpanExporter]:
    """What the standard variable names. Raises `TracesUnsent`."""
    wished = [name.strip() for name in (os.environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")]
    if unknown := [name for name in wished if name not in EXPORTERS and name != "none"]:
        allowed = ", ".join((*EXPORTERS, "none"))
        raise TracesUnsent(f"OTEL_TRACES_EXPORTER={unknown[0]}: there is no such exporter; allowed are {allowed}.")
    found = entry_points(group="opentelemetry_traces_exporter")
    return [found[EXPORTERS[name]].load()() for name in wished if name != "none"]


def _under(root: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(root), Context())


def _item(batch_id: str, index: int) -> dict[str, str | int]:
    return {"imagemill.batch": batch_id, "imagemill.item": index}


def _named(facts: Mapping[str, str | int]) -> dict[str, str | int]:
    return {f"imagemill.{name}": value for name, value in facts.items()}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def _blame(span: Span, error: BaseException) -> None:
    """Say what went wrong by its code: texts of errors may hold what belongs to others."""
    cause = getattr(error, "error", error)
    name = cause.failure.code.value if isinstance(cause, PipelineError) else type(cause).__name__
    span.set_attribute("error.type", name)
    span.set_status(Status(StatusCode.ERROR, name))


def _code_of(error: Exception) -> grpc.StatusCode:
    code = getattr(error, "code", grpc.StatusCode.INTERNAL)
    found = code() if callable(code) else code
    return found if isinstance(found, grpc.StatusCode) else grpc.StatusCode.INTERNAL
