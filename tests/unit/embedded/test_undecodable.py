"""A batch handed in over gRPC may ask that what can't be decoded is put aside."""

from __future__ import annotations

from imagemill.v1 import batch_pb2
from imagemill.v1 import batch_service_pb2 as api
from tests.support import pictures
from tests.support.picture_server import picture
from tests.unit.embedded.conftest import Desk, spec

HALF = pictures.png()[:-200]


async def test_a_batch_says_where_its_undecodable_files_are(desk: Desk) -> None:
    asked = spec("aside")
    asked.batch.keep_undecodable = True
    url = desk.server.route("/half.png", picture(HALF, "image/png"))

    await desk.mill.CreateBatch(api.CreateBatchRequest(spec=asked, items=[api.ItemSource(uri=url)]))
    batch = await desk.until("batches/aside", batch_pb2.Batch.STATE_COMPLETED)

    (item,) = await desk.items(batch.name)
    assert batch.keep_undecodable
    assert item.failure.code == "CONTENT_TRUNCATED"
    assert item.original.undecodable_key == f"batches/aside/undecodable/{item.original.sha256}"


async def test_a_batch_that_does_not_ask_has_none(desk: Desk) -> None:
    url = desk.server.route("/half.png", picture(HALF, "image/png"))

    batch = await desk.finished("plain", [url])

    (item,) = await desk.items(batch.name)
    assert not batch.keep_undecodable
    assert (item.failure.code, item.original.undecodable_key) == ("CONTENT_TRUNCATED", "")
