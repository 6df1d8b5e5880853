"""What travels beside a body: the version of the messages' schema, and the trace context."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aio_pika.abc import HeadersType

SCHEMA = "1.0"
"""Major and minor version of the messages in `messages.proto`. A new major version is one that older releases misread;
what they don't know of a new minor one they may leave aside."""

_SCHEMA_HEADER = "imagemill-schema"
_TRACE_HEADER = "traceparent"
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def headers(trace: str) -> HeadersType:
    """The headers of a message."""
    return {_SCHEMA_HEADER: SCHEMA, _TRACE_HEADER: trace} if trace else {_SCHEMA_HEADER: SCHEMA}


def schema_of(received: Mapping[str, object]) -> str:
    """The schema version of a message; one without the header is of the first."""
    return str(received.get(_SCHEMA_HEADER, SCHEMA))


def is_readable(received: Mapping[str, object]) -> bool:
    """Whether this release knows the major version of a message."""
    return schema_of(received).partition(".")[0] == SCHEMA.partition(".")[0]


def trace_of(received: Mapping[str, object]) -> str:
    """The W3C trace context of a message; empty when there is none, or it is none."""
    trace = received.get(_TRACE_HEADER, "")
    return trace if isinstance(trace, str) and _TRACE.fullmatch(trace) else ""
