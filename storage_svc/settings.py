"""What the storage service can be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Settings of the storage service; times in seconds."""

    listen: str
    """Where its gRPC server listens, `host:port` or `unix:path`."""
    group_s: float = 0.03
    """How long events are gathered before they are folded together."""
    lease_s: float = 60.0
    """How long a claim holds; prolonged while its queue lives. Twice the longest a download may take."""
