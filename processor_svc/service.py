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
from imagemill.settings.live import Live
from imagemill.v1.storage_service_pb2_grpc import StorageServiceStub
from processor_svc.darkroom import Darkroom
from processor_svc.measuring import measured
from processor_svc.pool import RenderPool
from processor_svc.settings import ProcessorSettings


async def serve(
    settings: Live[ProcessorSettings],
    pool: RenderPool,
    broker: Broker,
    blobs: Blobs,
    originals: Originals,
    *,
    stop: asyncio.Event,
) -> None:
    """Render in a pool that was begun until `stop` is set; what is not done a moment later is handed back."""
    await pool.ready()
    first = settings.value
    async with dial(first.storage_target) as channel:
        storage = StorageServiceStub(channel)
        darkroom = Darkroom(pool, blobs, originals, storage, first.max_pixels)
        work = Work(
            queue=Queue.PROCESS,
            running=State.PROCESSING,
            decode=decode_processes,
            handle=darkroom.develop,
            dropped=darkroom.drop,
            wanted=ask_wanted(storage, ProcessJob),
            slots=pool.slots,
            policy=first.retry,
        )
        stage = Stage(broker, work, Outbox[None](broker, settle=blobs.settle))

        def retune(changed: ProcessorSettings) -> None:
            darkroom.max_pixels = changed.max_pixels
            stage.retune(policy=changed.retry)

        with settings.followed_by(retune), measured(pool):
            await stage.run(stop, first.grace_s)
