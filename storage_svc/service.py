"""The storage service: the only owner of the database.

It folds what workers report into the rows, hands due items out as claims, answers every question about batches from
the rows, lets watchers follow them, and deletes what nobody needs any more from the blob store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import NoReturn

import grpc

from imagemill.keda.externalscaler_pb2_grpc import add_ExternalScalerServicer_to_server
from imagemill.ports.blobs import Blobs
from imagemill.ports.broker import Broker, Queue
from imagemill.ports.changes import Changes
from imagemill.ports.records import Records
from imagemill.runtime.dead_letters import DeadLetters, resubmit
from imagemill.runtime.jobs import decode_downloads, decode_processes
from imagemill.runtime.lifecycle import every
from imagemill.runtime.serving import Serving
from imagemill.v1 import batch_service_pb2_grpc, storage_service_pb2_grpc
from storage_svc.claims import marker_to_send, prolong_claims
from storage_svc.control import sweep_cancelled
from storage_svc.events import EventConsumer, fold_again
from storage_svc.inner_api import InnerApi
from storage_svc.measuring import MEASURE_S, measuring
from storage_svc.public_api import Links, PublicApi
from storage_svc.scaler import NAME as SCALER
from storage_svc.scaler import Scaler
from storage_svc.settings import StorageSettings
from storage_svc.sweep import Sweeper

NAMES = ("imagemill.v1.StorageService", "imagemill.v1.BatchService", SCALER)
SWEEP_S = 30.0
"""How often to look for what another process left undone, in seconds: cancelled batches, files to be deleted."""


async def serve(
    settings: StorageSettings,
    broker: Broker,
    records: Records,
    changes: Changes,
    blobs: Blobs | None = None,
    serving: Serving = Serving(),
    *,
    links: Links | None = None,
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set and everything reported by then is folded.

    With `blobs` it deletes there what nobody needs any more; without, originals lie in places of the workers' own.
    `links` gives callers links to pictures.
    """
    cancelled = asyncio.Event()
    cancelled.set()
    sweeper = Sweeper(records, blobs) if blobs is not None else None

    def register(server: grpc.aio.Server) -> None:
        public = PublicApi(records, changes, cancelled, links)
        batch_service_pb2_grpc.add_BatchServiceServicer_to_server(public, server)
        inner = InnerApi(records, changes, broker, settings.lease_s)
        storage_service_pb2_grpc.add_StorageServiceServicer_to_server(inner, server)
        add_ExternalScalerServicer_to_server(Scaler(records), server)

    async with serving.open(settings.listen, NAMES, register), asyncio.TaskGroup() as group:
        ready.set()
        loops = [
            every(SWEEP_S, _sweep(records, changes, sweeper), cancelled),
            every(settings.lease_s / 3, look_after_leases(records, broker, settings.lease_s)),
            *_dead_letters(broker, records, changes),
            *(_sweeping(sweeper) if sweeper is not None else ()),
            *([every(MEASURE_S, measuring(records, broker))] if settings.measured else ()),
        ]
        side_tasks = [group.create_task(loop) for loop in loops]
        consumer = EventConsumer(
            broker,
            records,
            changes,
            settings.group_s,
            settings.quiet_s,
            sweeper,
            last_call_s=settings.last_call_s,
            lease_s=settings.lease_s,
        )
        await consumer.run(stop)
        for task in side_tasks:
            task.cancel()


def look_after_leases(records: Records, broker: Broker, lease_s: float) -> Callable[[], Awaitable[None]]:
    """Prolong what is on the queues, and send a marker after what nobody has spoken of for long."""

    async def look_after() -> None:
        await prolong_claims(records, lease_s, time.time())
        if marker := await marker_to_send(records, lease_s, time.time()):
            await broker.publish(Queue.DOWNLOAD, [marker.encode()])

    return look_after


def _dead_letters(broker: Broker, records: Records, changes: Changes) -> Iterator[Coroutine[None, None, None]]:
    yield DeadLetters(broker, Queue.EVENTS, fold_again(records, changes)).run()
    yield DeadLetters(broker, Queue.DOWNLOAD, resubmit(broker, decode_downloads)).run()
    yield DeadLetters(broker, Queue.PROCESS, resubmit(broker, decode_processes)).run()


def _sweeping(sweeper: Sweeper) -> Iterator[Coroutine[None, None, NoReturn]]:
    sweeper.sweeping.set()
    yield every(SWEEP_S, sweeper.discard, sweeper.discarding)
    yield every(SWEEP_S, sweeper.sweep, sweeper.sweeping)


def _sweep(records: Records, changes: Changes, sweeper: Sweeper | None) -> Callable[[], Awaitable[None]]:
    """Mark the items of cancelled batches, chunk by chunk."""

    async def sweep() -> None:
        while swept := await sweep_cancelled(records, time.time()):
            changes.announce(swept)
            if sweeper is not None:
                sweeper.sweeping.set()

    return sweep
