"""What the processor can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from imagemill.domain.retry import RetryPolicy
from processor_svc.jobs import MAX_PIXELS
from processor_svc.pool import PoolSettings


@dataclass(frozen=True, slots=True)
class ProcessorSettings:
    """Settings of the processor; times in seconds."""

    storage_target: str
    """Where the storage service listens."""
    pool: PoolSettings = field(default_factory=PoolSettings)
    max_pixels: int = MAX_PIXELS
    """The largest picture that is decoded, in pixels over all its frames."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    grace_s: float = 1.0
    """How long renders may go on when the service stops."""
