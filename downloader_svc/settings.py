"""What the downloader can be told."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    def of(cls, storage_target: str, told: Downloading, retry: RetryPolicy) -> DownloaderSettings:
        """Return the settings of a downloader that is told this."""
        return cls(storage_target, downloads=told.downloads, http=_http(told), limits=_limits(told), retry=retry)


def _http(told: Downloading) -> HttpSettings:
    usual = HttpSettings()
    return HttpSettings(
        total_deadline_s=told.timeout_s,
        connect_timeout_s=told.connect_timeout_s,
        dns_timeout_s=told.dns_timeout_s,
        read_timeout_s=told.read_timeout_s,
        min_bytes_per_s=told.min_bytes_per_s,
        throughput_window_s=told.throughput_window_s,
        max_redirects=told.max_redirects,
        connections=max(2 * told.downloads, told.per_host, usual.connections),
        connections_per_host=told.per_host,
        idle_hosts=min(usual.idle_hosts, max(1, IDLE_CONNECTIONS // told.per_host)),
        dns_cache_s=told.dns_cache_s,
        user_agent=told.user_agent or usual.user_agent,
        allow_nets=told.allow_nets,
    )


def _limits(told: Downloading) -> FetchLimits:
    return FetchLimits(
        max_bytes=told.max_file_size,
        min_bytes=told.min_file_size,
        quick_retries=told.quick_retries,
        backoff_s=told.quick_delay_s,
        longest_pause_s=told.quick_longest_delay_s,
    )
