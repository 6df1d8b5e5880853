"""The processor: one original in, its renders out.

It takes jobs from `imagemill.process`, has them rendered by supervised processes, and stores the renders under keys
that content and recipe decide, so that a repeat overwrites itself with the same bytes.
"""

from __future__ import annotations

import asyncio

from imagemill.domain.items import State
from imagemill.ports.blobs import Blobs, Originals
from imagemill.ports.broker import Broker, Queue
from imagemill.runtime.jobs import ProcessJob, ask_wanted, decode_processes
from imagemill.runtime.outbox import Outbox
from imagemill.runtime.serving import dial
from imagemill.runtime.stage import Stage, Work
from imagemill.v1.storage_service_pb2_grpc import StorageServiceStub
from processor_svc.darkroom import Darkroom
from processor_svc.pool import RenderPool
from processor_svc.settings import ProcessorSettings


async def serve(
    settings: ProcessorSettings, broker: Broker, blobs: Blobs, originals: Originals, *, stop: asyncio.Event
) -> None:
    """Render until `stop` is set; what is not done a moment later is handed back."""
    async with dial(settings.storage_target) as channel, RenderPool(settings.pool) as pool:
        storage = StorageServiceStub(channel)
        darkroom = Darkroom(pool, blobs, originals, storage, settings.max_pixels)
        work = Work(
            queue=Queue.PROCESS,
            running=State.PROCESSING,
            decode=decode_processes,
            handle=darkroom.develop,
            dropped=darkroom.drop,
            wanted=ask_wanted(storage, ProcessJob),
            slots=pool.slots,
            policy=settings.retry,
        )
        await Stage(broker, work, Outbox[None](broker, settle=blobs.settle)).run(stop, settings.grace_s)
