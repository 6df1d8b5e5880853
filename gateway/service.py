"""The gateway: the front desk.

It judges and takes in batches, relays every question to the storage service, and keeps a bounded window of claimed
work on the queues. It has no state of its own.
"""

from __future__ import annotations

import asyncio

import grpc

from gateway.dispatcher import Dispatcher
from gateway.relay import Relay
from gateway.settings import GatewaySettings
from imagemill.ports.broker import Broker
from imagemill.runtime.serving import dial, serve_grpc
from imagemill.settings.live import Live
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub, add_BatchServiceServicer_to_server
from imagemill.v1.settings_service_pb2_grpc import SettingsServiceServicer, add_SettingsServiceServicer_to_server
from imagemill.v1.storage_service_pb2_grpc import StorageServiceStub

NAMES = ("imagemill.v1.BatchService",)
SETTINGS = "imagemill.v1.SettingsService"


async def serve(
    settings: Live[GatewaySettings],
    broker: Broker,
    settings_api: SettingsServiceServicer | None = None,
    *,
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set; claims that were not published by then run out by themselves.

    With `settings_api` the front desk also tells and changes settings.
    """
    first, names = settings.value, NAMES if settings_api is None else (*NAMES, SETTINGS)
    async with dial(first.storage_target) as channel:
        storage = StorageServiceStub(channel)
        relay = Relay(storage, BatchServiceStub(channel), broker)

        def register(server: grpc.aio.Server) -> None:
            add_BatchServiceServicer_to_server(relay, server)
            if settings_api is not None:
                add_SettingsServiceServicer_to_server(settings_api, server)

        dispatcher = Dispatcher(first, storage, broker)

        def retune(changed: GatewaySettings) -> None:
            dispatcher.settings = changed

        serving = serve_grpc(first.listen, names, register, reflection=first.reflection)
        with settings.followed_by(retune):
            async with serving, asyncio.TaskGroup() as group:
                dispatching = group.create_task(dispatcher.run(), name="dispatcher")
                ready.set()
                await stop.wait()
                dispatching.cancel()
