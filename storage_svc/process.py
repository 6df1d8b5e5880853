"""The storage service as a process of its own."""

from __future__ import annotations

import asyncio

from imagemill.runtime.health import Parts
from imagemill.runtime.serving import Serving
from imagemill.runtime.settings_api import SettingsApi
from imagemill.settings.live import LiveSettings
from imagemill.settings.service_groups import Storage
from imagemill.wiring.blobs import open_blobs
from imagemill.wiring.broker import open_broker
from imagemill.wiring.changes import open_changes
from imagemill.wiring.records import await_records
from storage_svc.service import NAMES, serve
from storage_svc.settings import StorageSettings

NAME = "imagemill storage"


async def work(settings: LiveSettings[Storage], stop: asyncio.Event) -> None:
    """Open the parts of the storage service and serve until `stop` is set."""
    told = settings.values.value
    parts = Parts()
    async with (
        Serving(parts, SettingsApi(settings)).begun(told.listen, NAMES) as serving,
        open_broker(told.broker_url) as broker,
        open_changes(told.database_url) as changes,
    ):
        parts.need("the broker", broker.check)
        blobs = await parts.opened("the blob store", lambda: open_blobs(told.blob_url), stop)
        records = await parts.opened("the database", lambda: await_records(told.database_url), stop)
        if blobs is None or records is None:
            return
        try:
            mine, ready = StorageSettings.of(told), asyncio.Event()
            await serve(mine, broker, records, changes, blobs, serving, links=blobs.links, ready=ready, stop=stop)
        finally:
            blobs.close()
            await records.close()
