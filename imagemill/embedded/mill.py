"""The embedded mill: the four services in one process tree, started together and stopped in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

import downloader_svc.service
import gateway.service
import processor_svc.service
import storage_svc.service
from imagemill.embedded.folder import StateUnreadable, allow_files, locked_folder, socket_target
from imagemill.embedded.memory import share_arenas
from imagemill.embedded.settings import EmbeddedSettings
from imagemill.ports.blobs import Blobs
from imagemill.ports.records import RecordsUnavailable
from imagemill.runtime.serving import dial
from imagemill.v1 import storage_service_pb2 as inner
from imagemill.v1.storage_service_pb2_grpc import StorageServiceStub
from imagemill.wiring.blobs import open_blobs, open_originals
from imagemill.wiring.broker import open_broker
from imagemill.wiring.changes import open_changes
from imagemill.wiring.records import open_records
from storage_svc.settings import StorageSettings

FOLD_S = 0.2
"""How long events are gathered, in seconds: one process tree makes too few for shorter groups to be worth their
transactions."""

log = logging.getLogger(__name__)


class _Service:
    """A running service: its task, and the flag that ends it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.create_task(work, name=self._name)

    async def end(self) -> None:
        """Stop in good order; its death, when it died before, is `Mill.failed`'s to tell."""
        self.stop.set()
        if self.task is not None:
            await asyncio.gather(self.task, return_exceptions=True)


class Mill:
    """A mill at work; `target` is where its BatchService listens."""

    def __init__(self, target: str, blobs: Blobs, services: list[_Service]) -> None:
        self.target = target
        self._blobs = blobs
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises when a service has died; never done otherwise."""
        for service in services:
            assert service.task is not None
            service.task.add_done_callback(self._died)

    def blob_path(self, key: str) -> Path:
        """The file behind a render's key."""
        return self._blobs.local_path(key)

    def _died(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self.failed.done():
            self.failed.set_exception(error)


@asynccontextmanager
async def open_mill(settings: EmbeddedSettings) -> AsyncIterator[Mill]:
    """Run a mill in the folder `settings.home` for as long as the context lasts.

    It takes up what an earlier one left, however that one ended. Leaving the context hands back what is in
    flight and ends every process within about 1.5 s.

    Raises `MillInUse`, `StateUnreadable`, `MachineTooSmall`, `ValueError` for settings that can't be, and
    `PoolBroken` when no rendering process can be started.
    """
    home = settings.home
    power = settings.survive_power_loss
    share_arenas()
    allow_files(settings.files)
    async with AsyncExitStack() as stack:
        stack.enter_context(locked_folder(home))
        storage_target = stack.enter_context(socket_target(home, "storage"))
        gateway_target = stack.enter_context(socket_target(home, "mill"))
        broker, changes = open_broker("memory:"), open_changes()
        try:
            records = await open_records(f"sqlite:///{home.absolute()}/mill.db", survive_power_loss=power)
            blobs = open_blobs(f"file://{home.absolute()}", survive_power_loss=power)
            originals = stack.enter_context(open_originals(blobs, home / "slots", settings.slots))
        except (RecordsUnavailable, OSError) as error:
            raise StateUnreadable(f"The mill's state in {home} can't be used: {error}.") from error
        stack.push_async_callback(records.close)

        # In the order in which they are stopped: what feeds before what is fed, the store last.
        front, fetching, rendering, store = (
            _Service(name) for name in ("gateway", "downloader", "processor", "storage")
        )
        store_ready, front_ready = asyncio.Event(), asyncio.Event()
        storage_settings = StorageSettings(storage_target, group_s=FOLD_S)
        store.start(
            storage_svc.service.serve(storage_settings, broker, records, changes, ready=store_ready, stop=store.stop)
        )
        rendering.start(
            processor_svc.service.serve(
                settings.processor(storage_target), broker, blobs, originals, stop=rendering.stop
            )
        )
        fetching.start(
            downloader_svc.service.serve(settings.downloader(storage_target), broker, originals, stop=fetching.stop)
        )
        front.start(
            gateway.service.serve(
                settings.gateway(gateway_target, storage_target), broker, ready=front_ready, stop=front.stop
            )
        )
        services = [front, fetching, rendering, store]
        try:
            mill = Mill(gateway_target, blobs, services)
            await _all_set(mill, store_ready, front_ready)
            yield mill
        finally:
            for service in (front, fetching, rendering):
                await service.end()
            await _hand_back(storage_target, broker.epoch)
            await store.end()


async def _all_set(mill: Mill, *ready: asyncio.Event) -> None:
    """Wait until the services serve, or raise what one of them died of."""
    waiting = asyncio.gather(*(event.wait() for event in ready))
    await asyncio.wait((waiting, mill.failed), return_when=asyncio.FIRST_COMPLETED)
    if mill.failed.done():
        waiting.cancel()
        await mill.failed


async def _hand_back(storage_target: str, epoch: str) -> None:
    """Give back what is in flight, uncounted: the next start takes it up at once."""
    async with dial(storage_target) as channel:
        try:
            await StorageServiceStub(channel).ReleaseClaims(inner.ReleaseClaimsRequest(epoch=epoch), timeout=1.0)
        except grpc.aio.AioRpcError:
            log.warning("What is in flight could not be given back; its leases will run out.")
