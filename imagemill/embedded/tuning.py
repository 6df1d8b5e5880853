"""The settings of a mill's services while it runs: all of them follow from the mill's own."""

from __future__ import annotations

from dataclasses import replace

from imagemill.embedded.folder import MachineTooSmall, allow_files
from imagemill.embedded.settings import EmbeddedSettings
from imagemill.ports.blobs import PooledOriginals
from imagemill.settings.groups import MillSettings
from imagemill.settings.live import ChangeRefused, Live


class Tuning:
    """What each service is told at the start, and whenever the mill's settings change."""

    def __init__(self, settings: EmbeddedSettings, originals: PooledOriginals, gateway: str, storage: str) -> None:
        self._settings = settings
        self._originals = originals
        self._targets = gateway, storage
        self.gateway = Live(settings.gateway(gateway, storage))
        self.downloader = Live(settings.downloader(storage))
        self.processor = Live(settings.processor(storage))

    def follow(self, values: MillSettings) -> None:
        """Tell the services what has changed. Raises `ChangeRefused` for more than the machine allows."""
        changed = replace(self._settings, values=values)
        try:
            allow_files(changed.files)
            # More places than are used do no harm; they stay if something further on refuses the change.
            self._originals.grow(changed.slots)
        except MachineTooSmall as error:
            raise ChangeRefused(str(error)) from error
        except OSError as error:
            raise ChangeRefused(f"No more places for originals can be made: {error.strerror}.") from error
        gateway, storage = self._targets
        self.gateway.change(changed.gateway(gateway, storage))
        self.downloader.change(changed.downloader(storage))
        self.processor.change(changed.processor(storage))
        self._settings = changed
