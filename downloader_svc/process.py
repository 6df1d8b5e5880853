"""The downloader as a process of its own."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace

from downloader_svc.service import serve
from downloader_svc.settings import DownloaderSettings
from imagemill.runtime.health import STORAGE, Parts, service_answers
from imagemill.runtime.memory import keep_buffers
from imagemill.runtime.serving import Serving, dial
from imagemill.runtime.settings_api import SettingsApi
from imagemill.settings.live import Live, LiveSettings
from imagemill.settings.service_groups import Downloader
from imagemill.wiring.blobs import open_blobs, shared_originals
from imagemill.wiring.broker import open_broker

NAME = "imagemill downloader"


async def work(settings: LiveSettings[Downloader], stop: asyncio.Event) -> None:
    """Open the downloader's parts and serve until `stop` is set."""
    keep_buffers()
    told = settings.values.value
    parts = Parts()
    live = Live(_settings(told))
    async with (
        Serving(parts, SettingsApi(settings)).open(told.listen),
        open_broker(told.broker_url) as broker,
        dial(told.storage_target) as channel,
    ):
        parts.need("the broker", broker.check)
        parts.need("the storage service", service_answers(channel, told.storage_target, STORAGE))
        power = told.durability == "power"
        blobs = await parts.opened("the blob store", lambda: open_blobs(told.blob_url, survive_power_loss=power), stop)
        if blobs is not None:
            with closing(blobs), settings.values.followed_by(lambda changed: live.change(_settings(changed))):
                await serve(live, broker, shared_originals(blobs), stop=stop)


def _settings(told: Downloader) -> DownloaderSettings:
    return replace(DownloaderSettings.of(told.storage_target, told, told.retry_policy), grace_s=told.grace_s)
