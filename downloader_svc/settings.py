"""What the downloader can be told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from downloader_svc.fetch import FetchLimits
from imagemill.domain.retry import RetryPolicy
from imagemill.http import HttpSettings
from imagemill.settings.groups import Downloading

IDLE_CONNECTIONS = 512
"""Connections kept idle at most, unless a single host may have more: each is an open file."""


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

    @classmethod
    def of(cls, storage_target: str, told: Downloading, retries: int) -> DownloaderSettings:
        """Return the settings of a downloader that is told this."""
        http = HttpSettings(
            total_deadline_s=told.timeout_s,
            connections=max(2 * told.downloads, told.per_host, HttpSettings().connections),
            connections_per_host=told.per_host,
            idle_hosts=min(HttpSettings().idle_hosts, max(1, IDLE_CONNECTIONS // told.per_host)),
            allow_nets=told.allow_nets,
        )
        retry = replace(RetryPolicy(), retries=retries)
        return cls(storage_target, downloads=told.downloads, http=http, retry=retry)
