"""A store that can't be asked for a twin costs a rendering and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

from imagemill.adapters.blobs import LocalBlobs
from imagemill.adapters.originals import KeptOriginals
from imagemill.domain.items import Original, State
from imagemill.runtime.jobs import ProcessJob
from imagemill.runtime.serving import dial
from imagemill.v1.storage_service_pb2_grpc import StorageServiceStub
from processor_svc.darkroom import Darkroom
from processor_svc.pool import PoolSettings, RenderPool
from tests.support import pictures
from tests.support.builders import RECIPE

PICTURE = pictures.jpeg()


async def test_a_picture_is_rendered_when_nobody_can_say_whether_a_twin_was(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    originals = KeptOriginals(blobs)
    digest = hashlib.sha256(PICTURE).hexdigest()
    async with originals.draft(durable=False) as draft:
        draft.file.write(PICTURE)
        ref = await draft.keep("b", digest, len(PICTURE))
    job = ProcessJob("b", 7, 0, ref, Original(digest, len(PICTURE), "jpeg"), 1.0, RECIPE.to_json())
    async with RenderPool(PoolSettings(children=1)) as pool, dial(f"unix:{tmp_path}/nobody.sock") as channel:
        darkroom = Darkroom(pool, blobs, originals, cast("Any", StorageServiceStub(channel)), max_pixels=10**9)
        first = await darkroom.develop(job)

        # its renders are there now, so a twin is asked for
        second = await darkroom.develop(job)

    assert first.event is not None
    assert second.event is not None
    assert second.event.state is State.SUCCEEDED
    assert second.event.facts.renders == first.event.facts.renders
