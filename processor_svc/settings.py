"""What the processor can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from imagemill.domain.retry import RetryPolicy
from imagemill.settings.groups import Rendering
from processor_svc.jobs import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class ProcessorSettings:
    """Settings of the processor; times in seconds."""

    storage_target: str
    """Where the storage service listens."""
    max_pixels: int = MAX_PIXELS
    """The largest picture that is decoded, in pixels over all its frames."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    grace_s: float = 1.0
    """How long renders may go on when the service stops."""

    @classmethod
    def of(cls, storage_target: str, told: Rendering, retry: RetryPolicy) -> ProcessorSettings:
        """Return the settings of a processor that is told this."""
        return cls(storage_target, max_pixels=told.max_pixels, retry=retry)
