"""Which broker stands behind a URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.ports.broker import Broker


def open_broker(url: str) -> Broker:
    """Open the broker of a URL: `memory:` lives and dies with this process. Raises `ValueError`."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryBroker()
    raise ValueError(f"{scheme!r} is no broker; use memory:")
