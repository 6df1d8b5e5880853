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
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub, add_BatchServiceServicer_to_server
from imagemill.v1.storage_service_pb2_grpc import StorageServiceStub

NAMES = ("imagemill.v1.BatchService",)


async def serve(settings: GatewaySettings, broker: Broker, *, ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; claims that were not published by then run out by themselves."""
    async with dial(settings.storage_target) as channel:
        storage = StorageServiceStub(channel)
        relay = Relay(storage, BatchServiceStub(channel), broker)

        def register(server: grpc.aio.Server) -> None:
            add_BatchServiceServicer_to_server(relay, server)

        async with serve_grpc(settings.listen, NAMES, register), asyncio.TaskGroup() as group:
            dispatching = group.create_task(Dispatcher(settings, storage, broker).run(), name="dispatcher")
            ready.set()
            await stop.wait()
            dispatching.cancel()
