"""What the embedded mill can be told, and what that means for each of its services."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from downloader_svc.settings import DownloaderSettings
from gateway.settings import GatewaySettings
from imagemill.settings.groups import Downloading, MillSettings
from processor_svc.pool import PoolSettings
from processor_svc.settings import ProcessorSettings

FILES_BESIDE = 150
"""Open files of the mill itself: sockets of its services and children, database, logs, libraries."""


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """Settings of a mill in one process tree."""

    home: Path
    """The folder of the mill's own state."""
    listen: str = ""
    """Where the API is served, `host:port`; when empty, only on a socket in the folder."""
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
    reflection: bool = True
    """Whether generic clients can ask for the descriptions of the API."""

    @classmethod
    def of(cls, home: Path, values: MillSettings, listen: str = "") -> EmbeddedSettings:
        """Return the settings of a mill in the folder `home` that is told `values`."""
        return cls(
            home=home,
            listen=listen,
            allow_nets=tuple(map(str, values.allow_nets)),
            children=values.children,
            durability=values.durability,
            reflection=values.reflection,
        ).retuned(values)

    def retuned(self, values: MillSettings) -> EmbeddedSettings:
        """Return these settings with those of `values` that may change while the mill runs."""
        return replace(
            self,
            downloads=values.downloads,
            per_host=values.per_host,
            timeout_s=values.timeout_s,
            retries=values.retries,
        )

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
        http = self.downloader("").http
        return self.slots + http.connections + http.idle_hosts * http.connections_per_host + FILES_BESIDE

    def gateway(self, listen: str, storage_target: str) -> GatewaySettings:
        """The gateway's settings: a window of twice what the workers hold, so that none of them idles."""
        held = self.downloads + 2 * (self.children or os.cpu_count() or 1)
        return GatewaySettings(listen, storage_target, least_window=2 * held, reflection=self.reflection)

    def downloader(self, storage_target: str) -> DownloaderSettings:
        """The downloader's settings. Raises `ValueError` for a network that is none."""
        told = Downloading(
            downloads=self.downloads,
            per_host=self.per_host,
            timeout_s=self.timeout_s,
            allow_nets=tuple(ip_network(net) for net in self.allow_nets),
        )
        return DownloaderSettings.of(storage_target, told, self.retries)

    def processor(self, storage_target: str) -> ProcessorSettings:
        """The processor's settings."""
        return ProcessorSettings.of(storage_target, self.retries)

    @property
    def pool(self) -> PoolSettings:
        """The rendering processes' settings."""
        return PoolSettings(children=self.children)
