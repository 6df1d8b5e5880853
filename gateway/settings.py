"""What the gateway can be told."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_WINDOW = 256


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Settings of the gateway."""

    listen: str
    """Where its gRPC server listens, `host:port` or `unix:path`."""
    storage_target: str
    """Where the storage service listens."""
    least_window: int = LEAST_WINDOW
    """The smallest number of items in flight: twice what the workers hold, so that none of them idles."""
    largest_window: int = 4096
    """The largest number of items in flight; it bounds what a crash repeats."""
    window_s: float = 2.0
    """Seconds of measured throughput that are kept in flight between those bounds."""
