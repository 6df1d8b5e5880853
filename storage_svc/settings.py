"""What the storage service can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagemill.settings.service_groups import Storage


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Settings of the storage service; times in seconds."""

    listen: str
    """Where its gRPC server listens, `host:port` or `unix:path`."""
    group_s: float = 0.25
    """How long events are gathered after a fold to be folded together."""
    quiet_s: float = 0.1
    """The silence that ends a group early."""
    last_call_s: float = 0.03
    """How long the service, when it is to stop, listens for events that are on their way already."""
    lease_s: float = 60.0
    """How long a claim holds; prolonged until its queues have moved past it. Workers give a sign of life every 15 s."""
    measured: bool = False
    """Whether batches and queues are looked at for the metrics."""

    @classmethod
    def of(cls, told: Storage) -> StorageSettings:
        """Return the settings of a storage service that is told this."""
        return cls(told.listen, lease_s=told.lease_s, measured=told.metrics_listen is not None)
