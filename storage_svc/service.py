"""The storage service: the only owner of the database.

It folds what workers report into the rows, hands due items out as claims, answers every question about batches from
the rows, and lets watchers follow them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc

from imagemill.ports.broker import Broker
from imagemill.ports.changes import Changes
from imagemill.ports.records import Records
from imagemill.runtime.lifecycle import every
from imagemill.runtime.serving import serve_grpc
from imagemill.v1 import batch_service_pb2_grpc, storage_service_pb2_grpc
from storage_svc.control import sweep_cancelled
from storage_svc.events import EventConsumer
from storage_svc.inner_api import InnerApi
from storage_svc.public_api import PublicApi
from storage_svc.settings import StorageSettings

NAMES = ("imagemill.v1.StorageService", "imagemill.v1.BatchService")
SWEEP_S = 30.0
"""How often to look for cancelled batches whose sweep another process left unfinished, in seconds."""


async def serve(
    settings: StorageSettings,
    broker: Broker,
    records: Records,
    changes: Changes,
    *,
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set and everything reported by then is folded."""
    cancelled = asyncio.Event()
    cancelled.set()
    inner = InnerApi(records, changes, settings.lease_s)

    def register(server: grpc.aio.Server) -> None:
        batch_service_pb2_grpc.add_BatchServiceServicer_to_server(PublicApi(records, changes, cancelled), server)
        storage_service_pb2_grpc.add_StorageServiceServicer_to_server(inner, server)

    async with serve_grpc(settings.listen, NAMES, register), asyncio.TaskGroup() as group:
        ready.set()
        side_tasks = [
            group.create_task(every(SWEEP_S, _sweep(records, changes), cancelled), name="cancel sweep"),
            group.create_task(every(settings.lease_s / 3, _extend(records, inner, settings.lease_s)), name="leases"),
        ]
        await EventConsumer(broker, records, changes, settings.group_s).run(stop)
        for task in side_tasks:
            task.cancel()


def _sweep(records: Records, changes: Changes) -> Callable[[], Awaitable[None]]:
    """Mark the items of cancelled batches, chunk by chunk."""

    async def sweep() -> None:
        while swept := await sweep_cancelled(records, time.time()):
            changes.announce(swept)

    return sweep


def _extend(records: Records, inner: InnerApi, lease_s: float) -> Callable[[], Awaitable[None]]:
    """Prolong the claims whose queue lives."""

    async def extend() -> None:
        if inner.epoch is not None:
            now = time.time()
            async with records.write() as unit:
                await unit.extend_leases(inner.epoch, now + lease_s, now)

    return extend
