"""What the downloader can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from downloader_svc.fetch import FetchLimits
from imagemill.domain.retry import RetryPolicy
from imagemill.http import HttpSettings


@dataclass(frozen=True, slots=True)
class DownloaderSettings:
    """Settings of the downloader; times in seconds."""

    storage_target: str
    """Where the storage service listens."""
    downloads: int = 50
    """Downloads at the same time: a few saturate a fast link, slow hosts want more."""
    http: HttpSettings = field(default_factory=HttpSettings)
    limits: FetchLimits = field(default_factory=FetchLimits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """The attempts through the queue."""
    grace_s: float = 0.0
    """How long downloads may go on when the service stops; what is cut off is downloaded again."""
