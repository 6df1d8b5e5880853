"""Traces, as the rest of the mill speaks of them; without `traced` every word of it does nothing.

An item has one trace, from the call that brought its batch to the fold that makes it final, through all attempts. The
context of that call is stored with the batch and travels in the headers of messages. A message holds many jobs, so
each item's own context is not sent but derived from that context and the item's index: every service comes to the same
ids, and to the same choice of the items that are traced, also after a death. The item's root span links to the call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagemill.runtime.tracing import Tracer

_NOTHING = nullcontext()
_tracer: Tracer | None = None


class TracesUnsent(Exception):
    """Traces can't be sent where the OTEL_* variables say; the text says why, for their owner."""


@contextmanager
def traced(share: float, service: str) -> Iterator[None]:
    """Trace this share of all items while the block lasts, and send that where the OTEL_* variables say.

    Raises `TracesUnsent` for an exporter that there is not.
    """
    global _tracer
    if not share:
        yield
        return
    # Heavy, and needed by few.
    from imagemill.runtime.tracing import Tracer

    tracer = _tracer = Tracer(share, service)
    try:
        yield
    finally:
        _tracer = None
        tracer.close()


def is_on() -> bool:
    """Whether anything is traced."""
    return _tracer is not None


def call(method: str, context: Any) -> AbstractContextManager[None]:
    """A call that brings items is answered in the block; its caller's trace goes on in it."""
    return _NOTHING if _tracer is None else _tracer.call(method, context)


def present() -> str:
    """The W3C `traceparent` of the call that is being answered; empty when it is not traced."""
    return "" if _tracer is None else _tracer.present()


def present_id() -> str:
    """The id of the trace that is being added to; empty when there is none."""
    return "" if _tracer is None else _tracer.present_id()


def id_of(trace: str, batch_id: str, index: int) -> str:
    """The id of an item's trace; empty when it is not traced."""
    return "" if _tracer is None or not trace else _tracer.id_of(trace, batch_id, index)


def dispatched(trace: str, batch_id: str, items: Sequence[tuple[int, int]]) -> AbstractContextManager[None]:
    """Items of a batch, given by index and attempt, are published in the block."""
    return _NOTHING if _tracer is None or not trace else _tracer.dispatched(trace, batch_id, items)


def handled(queue: str, trace: str, batch_id: str, index: int, attempt: int) -> AbstractContextManager[None]:
    """A worker is at an item in the block."""
    return _NOTHING if _tracer is None or not trace else _tracer.handled(queue, trace, batch_id, index, attempt)


def moved(step: str, trace: str, batch_id: str, index: int, began: float, **facts: str | int) -> None:
    """A step that began at a moment, in seconds since the epoch, has moved an item's row."""
    if _tracer is not None and trace:
        _tracer.moved(step, trace, batch_id, index, began, facts)


def ended(trace: str, batch_id: str, index: int, began: float, **facts: str | int) -> None:
    """An item is final, whose batch came at a moment, in seconds since the epoch."""
    if _tracer is not None and trace:
        _tracer.ended(trace, batch_id, index, began, facts)
