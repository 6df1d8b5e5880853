"""Links to the pictures of a mill in a folder: paths of its files."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from google.protobuf.duration_pb2 import Duration
from PIL import Image

from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch
from tests.unit.embedded.conftest import Desk


async def test_a_link_is_the_path_of_a_picture(desk: Desk) -> None:
    batch = await desk.create("linked", desk.good(1))
    await desk.until(batch.name, Batch.STATE_COMPLETED)

    request = api.ListItemsRequest(parent=batch.name, link_lifetime=Duration(seconds=60))
    (item,) = (await desk.mill.ListItems(request)).items

    link = urlsplit(item.renders[0].url)
    assert link.scheme == "file"
    with Image.open(Path(url2pathname(link.path))) as picture:
        assert picture.size == (64, 48)
