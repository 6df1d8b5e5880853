"""What the embedded mill can be told, and what that means for each of its services."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from downloader_svc.settings import DownloaderSettings
from gateway.settings import LEAST_WINDOW, GatewaySettings
from imagemill.domain.retry import RetryPolicy
from imagemill.http import HttpSettings
from processor_svc.pool import PoolSettings
from processor_svc.settings import ProcessorSettings

IDLE_CONNECTIONS = 512
"""Connections kept idle at most, unless a single host may have more: each is an open file."""

FILES_BESIDE = 150
"""Open files of the mill itself: sockets of its services and children, database, logs, libraries."""


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """Settings of a mill in one process tree."""

    home: Path
    """The folder of the mill's own state."""
    allow_nets: tuple[str, ...] = ()
    """Private networks that may be dialled, such as `10.0.0.0/8`."""
    downloads: int = 50
    """Downloads at the same time."""
    per_host: int = 8
    """Connections to one host at the same time; a list from a single host is bound by it."""
    timeout_s: float = 30.0
    """Seconds for one whole download."""
    retries: int = 3
    """Attempts after the first, through the queue."""
    children: int | None = None
    """Rendering processes; one per core when None."""
    durability: Literal["process", "power"] = "process"
    """What stored pictures and records survive: the death of any process, or also a power loss."""

    @property
    def survive_power_loss(self) -> bool:
        """Whether everything is synced to the disk before it counts."""
        return self.durability == "power"

    @property
    def slots(self) -> int:
        """Places for originals: enough for all downloads and as many waiting to be rendered."""
        return self.downloads + 2 * (self.children or os.cpu_count() or 1) + 32

    @property
    def files(self) -> int:
        """Files that may be open at once: places for originals, connections in use and idle, and the mill's own."""
        http = self._http
        return self.slots + http.connections + http.idle_hosts * http.connections_per_host + FILES_BESIDE

    def gateway(self, listen: str, storage_target: str) -> GatewaySettings:
        """The gateway's settings: a window of twice what the workers hold, so that none of them idles."""
        held = self.downloads + 2 * (self.children or os.cpu_count() or 1)
        least = max(LEAST_WINDOW, 2 * held)
        return GatewaySettings(listen, storage_target, least_window=least)

    def downloader(self, storage_target: str) -> DownloaderSettings:
        """The downloader's settings. Raises `ValueError` for a network that is none."""
        return DownloaderSettings(storage_target, downloads=self.downloads, http=self._http, retry=self._retry)

    def processor(self, storage_target: str) -> ProcessorSettings:
        """The processor's settings."""
        return ProcessorSettings(storage_target, pool=PoolSettings(children=self.children), retry=self._retry)

    @property
    def _http(self) -> HttpSettings:
        return HttpSettings(
            total_deadline_s=self.timeout_s,
            connections=max(2 * self.downloads, self.per_host, HttpSettings().connections),
            connections_per_host=self.per_host,
            idle_hosts=min(HttpSettings().idle_hosts, max(1, IDLE_CONNECTIONS // self.per_host)),
            allow_nets=tuple(ip_network(net) for net in self.allow_nets),
        )

    @property
    def _retry(self) -> RetryPolicy:
        return replace(RetryPolicy(), retries=self.retries)
