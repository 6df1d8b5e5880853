"""A whole mill in this process, its contract over its own socket, and a picture server beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from grpc.aio import Channel

from imagemill import codec
from imagemill.embedded import EmbeddedSettings, open_mill
from imagemill.runtime.serving import dial
from imagemill.settings.groups import MillSettings
from imagemill.v1 import batch_pb2
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub
from storage_svc import batch_reader
from tests.support import pictures
from tests.support.builders import RECIPE
from tests.support.eventually import eventually
from tests.support.picture_server import PictureServer, picture, stalled

if TYPE_CHECKING:  # the stubs alone know asynchronous stubs by a type of their own
    from imagemill.v1.batch_service_pb2_grpc import BatchServiceAsyncStub

PATIENCE_S = 20.0
GOOD = pictures.jpeg(64, 48)
LOOPBACK = (ip_network("127.0.0.0/8"),)


def settings(home: Path) -> EmbeddedSettings:
    return EmbeddedSettings(home, MillSettings(allow_nets=LOOPBACK, downloads=8, retries=0, children=1))


@dataclass(frozen=True, slots=True)
class Desk:
    """The front desk of a mill, and where its pictures come from."""

    mill: BatchServiceAsyncStub
    channel: Channel
    server: PictureServer

    def good(self, number: int, name: str = "good") -> list[str]:
        """URLs of different pictures."""
        return [self.server.route(f"/{name}-{n}.jpg", picture(pictures.numbered(GOOD, n))) for n in range(number)]

    def stuck(self) -> str:
        """The URL of a picture that never arrives in full."""
        return self.server.route("/stuck.jpg", stalled(GOOD, 100))

    async def create(
        self, batch_id: str, urls: list[str], *, client_id: str = "", request_id: str = ""
    ) -> batch_pb2.Batch:
        request = api.CreateBatchRequest(
            spec=spec(batch_id, client_id=client_id, request_id=request_id), items=[api.ItemSource(uri=u) for u in urls]
        )
        response: api.CreateBatchResponse = await self.mill.CreateBatch(request)
        return response.batch

    async def get(self, name: str) -> batch_pb2.Batch:
        response: api.GetBatchResponse = await self.mill.GetBatch(api.GetBatchRequest(name=name))
        return response.batch

    async def items(self, name: str) -> list[batch_pb2.Item]:
        response: api.ListItemsResponse = await self.mill.ListItems(api.ListItemsRequest(parent=name, page_size=5000))
        return list(response.items)

    async def until(self, name: str, state: batch_pb2.Batch.State.ValueType) -> batch_pb2.Batch:
        """Wait for a batch to reach a state."""

        async def reached() -> bool:
            return (await self.get(name)).state == state

        await eventually(reached, timeout_s=PATIENCE_S)
        return await self.get(name)

    async def finished(self, batch_id: str, urls: list[str], *, client_id: str = "") -> batch_pb2.Batch:
        """Hand in a batch and wait for its end."""
        batch = await self.create(batch_id, urls, client_id=client_id)
        return await self.until(batch.name, batch_pb2.Batch.STATE_COMPLETED)


def spec(batch_id: str, *, client_id: str = "", request_id: str = "") -> api.BatchSpec:
    batch = batch_pb2.Batch(recipe=codec.recipe_message(RECIPE.to_mapping()), display_name="Test")
    return api.BatchSpec(batch_id=batch_id, client_id=client_id, request_id=request_id, batch=batch)


@pytest.fixture(autouse=True)
def _quick_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_reader, "PACE_S", 0.01)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with (
        PictureServer() as server,
        open_mill(settings(tmp_path / "mill")) as mill,
        dial(mill.target) as channel,
        asyncio.timeout(60.0),
    ):
        yield Desk(BatchServiceStub(channel), channel, server)
        assert not mill.failed.done()
