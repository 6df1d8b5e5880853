"""JSON as the command writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TextIO


def json_text(record: Mapping[str, object], stream: TextIO, indent: int | None = None) -> str:
    """Write an object as JSON without a line end; in ASCII where the stream takes no other characters."""
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
    separators = (",", ":") if indent is None else None
    return json.dumps(record, ensure_ascii=encoding != "utf8", separators=separators, indent=indent)
