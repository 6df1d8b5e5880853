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
from imagemill.runtime.serving import Serving, dial
from imagemill.settings.live import Live
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub, add_BatchServiceServicer_to_server
from imagemill.v1.storage_service_pb2_grpc import StorageServiceStub

NAMES = ("imagemill.v1.BatchService",)


async def serve(
    settings: Live[GatewaySettings],
    broker: Broker,
    serving: Serving = Serving(),
    *,
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set; what is claimed by then is still published, within the grace."""
    first = settings.value
    async with dial(first.storage_target) as channel:
        storage = StorageServiceStub(channel)
        relay = Relay(storage, BatchServiceStub(channel), broker)
        dispatcher = Dispatcher(first, storage, broker)

        def retune(changed: GatewaySettings) -> None:
            dispatcher.settings = changed

        def register(server: grpc.aio.Server) -> None:
            add_BatchServiceServicer_to_server(relay, server)

        with settings.followed_by(retune):
            async with serving.open(first.listen, NAMES, register), asyncio.TaskGroup() as group:
                dispatching = group.create_task(dispatcher.run(stop), name="dispatcher")
                ready.set()
                await stop.wait()
                await asyncio.wait((dispatching,), timeout=first.grace_s)
                dispatching.cancel()
