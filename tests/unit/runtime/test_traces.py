"""Traces: which items are traced, and that every service comes to the same."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from imagemill.domain.failures import FailureCode, PermanentError
from imagemill.runtime import traces
from imagemill.runtime.logs import JsonLines, TextLines
from imagemill.runtime.tracing import Tracer

CALL = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUEUE = "imagemill.download"


@pytest.fixture(autouse=True)
def _no_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")


@contextmanager
def kept(share: float = 1.0, service: str = "gateway") -> Iterator[InMemorySpanExporter]:
    """Trace, and keep what would be sent."""
    spans = InMemorySpanExporter()
    with traces.traced(share, service):
        tracer = traces._tracer
        assert isinstance(tracer, Tracer)
        tracer._provider.add_span_processor(SimpleSpanProcessor(spans))
        yield spans


def chosen(share: float, service: str) -> set[int]:
    """Which of a thousand items a service traces."""
    with kept(share, service):
        return {index for index in range(1000) if traces.id_of(CALL, "b", index)}


def test_every_service_chooses_the_same_items_and_about_the_share_of_them() -> None:
    assert chosen(0.1, "gateway") == chosen(0.1, "storage")
    assert 60 <= len(chosen(0.1, "gateway")) <= 140
    assert chosen(0.1, "gateway") < chosen(0.5, "gateway") < chosen(1.0, "gateway") == set(range(1000))


def test_an_item_that_is_not_chosen_leaves_no_span() -> None:
    with kept(0.1) as spans:
        left_out = next(index for index in range(1000) if not traces.id_of(CALL, "b", index))
        with traces.handled(QUEUE, CALL, "b", left_out, 0):
            assert traces.present_id() == ""
        with traces.dispatched(CALL, "b", [(left_out, 0)]):
            pass
        traces.moved("fold", CALL, "b", left_out, 1.0)
        traces.ended(CALL, "b", left_out, 1.0)

    assert spans.get_finished_spans() == ()


def test_nothing_is_traced_of_a_batch_whose_call_was_not() -> None:
    with kept() as spans:
        with traces.handled(QUEUE, "", "b", 1, 0), traces.dispatched("", "b", [(1, 0)]):
            pass
        traces.ended("", "b", 1, 1.0)

    assert spans.get_finished_spans() == ()


def test_without_a_share_every_word_does_nothing() -> None:
    with traces.traced(0.0, "gateway"):
        with traces.handled(QUEUE, CALL, "b", 1, 0), traces.dispatched(CALL, "b", [(1, 0)]):
            assert (traces.present(), traces.present_id(), traces.id_of(CALL, "b", 1)) == ("", "", "")
        traces.moved("fold", CALL, "b", 1, 1.0)
        assert not traces.is_on()


def test_an_error_is_told_by_its_code_and_never_by_its_text() -> None:
    with kept() as spans:
        with pytest.raises(PermanentError), traces.handled(QUEUE, CALL, "b", 1, 0):
            raise PermanentError(FailureCode.SOURCE_FORBIDDEN, "https://user:secret@host/ says no")
        with pytest.raises(KeyError), traces.dispatched(CALL, "b", [(1, 0)]):
            raise KeyError("secret")
        told = [span.to_json() for span in spans.get_finished_spans()]

    assert "SOURCE_FORBIDDEN" in told[0]
    assert "KeyError" in told[1]
    assert "secret" not in "".join(told)


def test_the_trace_is_present_while_an_item_is_handled() -> None:
    with kept(), traces.handled(QUEUE, CALL, "b", 1, 0):
        assert traces.present_id() == traces.id_of(CALL, "b", 1) != ""


def test_a_line_of_the_log_ends_with_the_id_of_its_trace() -> None:
    record = logging.LogRecord("imagemill", logging.INFO, "", 1, "said", (), None)
    with kept():
        with traces.handled(QUEUE, CALL, "b", 1, 0):
            assert TextLines().format(record).endswith(f"said trace_id={traces.present_id()}")
            assert json.loads(JsonLines().format(record))["trace_id"] == traces.present_id()
        assert TextLines().format(record).endswith("said")
        assert "trace_id" not in JsonLines().format(record)


@pytest.mark.parametrize("variable", ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"])
def test_the_standard_variables_name_the_service(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "mine" if variable.endswith("NAME") else "service.name=mine")
    with kept() as spans:
        traces.ended(CALL, "b", 1, 1.0)
        (span,) = spans.get_finished_spans()

    assert span.resource.attributes["service.name"] == "mine"


def test_an_exporter_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp,zipkin")
    with (
        pytest.raises(traces.TracesUnsent, match=r"OTEL_TRACES_EXPORTER=zipkin: .*allowed are otlp, console, none"),
        traces.traced(1.0, "gateway"),
    ):
        pass
