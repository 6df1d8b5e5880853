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
from imagemill.embedded.listening import free_address
from imagemill.embedded.settings import EmbeddedSettings
from imagemill.embedded.tuning import Tuning
from imagemill.ports.blobs import BlobFiles, PooledOriginals
from imagemill.ports.records import Records, RecordsUnavailable
from imagemill.runtime.exposition import exposed
from imagemill.runtime.memory import keep_buffers, share_heaps
from imagemill.runtime.metrics import SERVICES
from imagemill.runtime.serving import Serving, dial
from imagemill.runtime.settings_api import SettingsApi
from imagemill.runtime.traces import traced
from imagemill.settings.groups import MillSettings
from imagemill.settings.live import LiveSettings
from imagemill.v1 import storage_service_pb2 as inner
from imagemill.v1.storage_service_pb2_grpc import StorageServiceStub
from imagemill.wiring.blobs import open_files, open_originals
from imagemill.wiring.broker import open_broker
from imagemill.wiring.changes import open_changes
from imagemill.wiring.records import open_records
from processor_svc.pool import RenderPool
from storage_svc.settings import StorageSettings

FOLD_S = 0.2
"""How long events are gathered after a fold, in seconds: one process tree makes too few for shorter groups to be worth
their transactions."""
QUIET_S = 0.05
"""The silence that ends a group early, in seconds: longer than between two groups of a busy worker, so it is the end of
a batch, or a small one."""
LAST_CALL_S = 0.001
"""How long storage listens at its stop, in seconds: in one process tree nothing is on its way."""

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
    """A mill at work; `target` is where its BatchService listens.

    `store_target` answers the calls of that service that only read, from the process tree itself: what looks after
    the mill from inside needs no way around through the network.
    """

    def __init__(self, target: str, store_target: str, blobs: BlobFiles, services: list[_Service]) -> None:
        self.target = target
        self.store_target = store_target
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
async def open_mill(
    settings: EmbeddedSettings, pool: RenderPool | None = None, live: LiveSettings[MillSettings] | None = None
) -> AsyncIterator[Mill]:
    """Run a mill in the folder `settings.home` for as long as the context lasts.

    `pool` may have been begun before, by a caller that has something else to do while its processes start. With
    `live` the mill follows these settings, and its API tells and changes them.

    It takes up what an earlier one left, however that one ended. Leaving the context hands back what is in
    flight and ends every process within about 1.5 s.

    Raises `MillInUse`, `StateUnreadable`, `MachineTooSmall`, `AddressUnusable`, `MetricsUnexposed`, `TracesUnsent`,
    `ValueError` for settings that can't be, and `PoolBroken` when no rendering process can be started.
    """
    share_heaps()
    keep_buffers()
    async with AsyncExitStack() as stack:
        pool = pool or RenderPool(settings.pool).begin()
        stack.push_async_callback(pool.aclose)
        allow_files(settings.files)
        stack.enter_context(locked_folder(settings.home))
        storage_target, gateway_target = _targets(settings, stack)
        broker = await stack.enter_async_context(open_broker("memory:"))
        changes = await stack.enter_async_context(open_changes("memory:"))
        records, blobs, originals = await _open_state(settings, stack)
        tuning = Tuning(settings, originals, gateway_target, storage_target)
        if live is not None:
            stack.enter_context(live.values.followed_by(tuning.follow))
        # In the order in which they are stopped: what feeds before what is fed, the store last.
        front, fetching, rendering, store = (
            _Service(name) for name in ("gateway", "downloader", "processor", "storage")
        )
        store_ready, front_ready = asyncio.Event(), asyncio.Event()
        metrics_listen = settings.values.metrics_listen
        stack.enter_context(exposed(metrics_listen, SERVICES))
        stack.enter_context(traced(settings.values.trace_sample, "mill"))
        storage_settings = _storage_settings(storage_target, measured=metrics_listen is not None)
        store.start(
            storage_svc.service.serve(
                storage_settings, broker, records, changes, links=blobs.links, ready=store_ready, stop=store.stop
            )
        )
        rendering.start(
            processor_svc.service.serve(tuning.processor, pool, broker, blobs, originals, stop=rendering.stop)
        )
        fetching.start(downloader_svc.service.serve(tuning.downloader, broker, originals, stop=fetching.stop))
        beside = Serving(settings=SettingsApi(live) if live else None, reflection=settings.reflection)
        front.start(gateway.service.serve(tuning.gateway, broker, beside, ready=front_ready, stop=front.stop))
        services = [front, fetching, rendering, store]
        try:
            mill = Mill(gateway_target, storage_target, blobs, services)
            await _all_set(mill, store_ready, front_ready)
            yield mill
        finally:
            for service in (front, fetching, rendering):
                await service.end()
            await _hand_back(storage_target, broker.epoch)
            await store.end()


def _storage_settings(listen: str, *, measured: bool) -> StorageSettings:
    return StorageSettings(listen, group_s=FOLD_S, quiet_s=QUIET_S, last_call_s=LAST_CALL_S, measured=measured)


def _targets(settings: EmbeddedSettings, stack: AsyncExitStack) -> tuple[str, str]:
    """Where the storage service and the gateway listen: in the mill's folder, unless callers come from outside."""
    storage = stack.enter_context(socket_target(settings.home, "storage"))
    if settings.listen:
        return storage, free_address(settings.listen)
    return storage, stack.enter_context(socket_target(settings.home, "mill"))


async def _open_state(settings: EmbeddedSettings, stack: AsyncExitStack) -> tuple[Records, BlobFiles, PooledOriginals]:
    """Open what the mill keeps in its folder, and close it with the stack. Raises `StateUnreadable`."""
    home, power = settings.home, settings.survive_power_loss
    try:
        records = await open_records(f"sqlite:///{home.absolute()}/mill.db", survive_power_loss=power)
        blobs = open_files(home.absolute(), survive_power_loss=power)
        stack.callback(blobs.close)
        originals = stack.enter_context(open_originals(blobs, home / "slots", settings.slots))
    except (RecordsUnavailable, OSError) as error:
        raise StateUnreadable(f"The mill's state in {home} can't be used: {error}.") from error
    stack.push_async_callback(records.close)
    return records, blobs, originals


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
