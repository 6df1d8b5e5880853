"""What the gateway can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagemill.settings.service_groups import Gateway

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
    grace_s: float = 0.0
    """How long a claim may take to be published when the service stops, in seconds; one that isn't runs out."""

    @classmethod
    def of(cls, told: Gateway) -> GatewaySettings:
        """Return the settings of a gateway that is told this."""
        return cls(
            told.listen,
            told.storage_target,
            least_window=told.least_window,
            largest_window=told.largest_window,
            window_s=told.window_s,
            grace_s=told.grace_s,
        )
