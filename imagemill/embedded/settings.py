"""What the embedded mill can be told, and what that means for each of its services."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from downloader_svc.settings import DownloaderSettings
from gateway.settings import GatewaySettings
from imagemill.runtime.cores import usable_cores
from imagemill.settings.groups import MillSettings
from processor_svc.pool import OUTSTANDING, PoolSettings
from processor_svc.settings import ProcessorSettings

FILES_BESIDE = 150
"""Open files of the mill itself: sockets of its services and children, database, logs, libraries."""


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """Settings of a mill in one process tree."""

    home: Path
    """The folder of the mill's own state."""
    values: MillSettings = MillSettings()
    """What it is told."""
    listen: str = ""
    """Where the API is served, `host:port`; when empty, only on a socket in the folder."""

    @property
    def survive_power_loss(self) -> bool:
        """Whether everything is synced to the disk before it counts."""
        return self.values.durability == "power"

    @property
    def reflection(self) -> bool:
        """Whether generic clients can ask for the descriptions of the API."""
        return self.values.reflection

    @property
    def slots(self) -> int:
        """Places for originals: enough for all downloads and as many waiting to be rendered."""
        return self._held + 32

    @property
    def files(self) -> int:
        """Files that may be open at once: places for originals, connections in use and idle, and the mill's own."""
        http = self.downloader("").http
        return self.slots + http.connections + http.idle_hosts * http.connections_per_host + FILES_BESIDE

    def gateway(self, listen: str, storage_target: str) -> GatewaySettings:
        """The gateway's settings: a window of twice what the workers hold, so that none of them idles."""
        return GatewaySettings(listen, storage_target, least_window=2 * self._held)

    def downloader(self, storage_target: str) -> DownloaderSettings:
        """The downloader's settings."""
        return DownloaderSettings.of(storage_target, self.values, self.values.retry_policy)

    def processor(self, storage_target: str) -> ProcessorSettings:
        """The processor's settings."""
        return ProcessorSettings.of(storage_target, self.values, self.values.retry_policy)

    @property
    def pool(self) -> PoolSettings:
        """The rendering processes' settings."""
        return PoolSettings.of(self.values)

    @property
    def _held(self) -> int:
        """Items that the workers hold at most: all downloads, and what each rendering process has and is to have."""
        return self.values.downloads + OUTSTANDING * (self.values.children or usable_cores())
