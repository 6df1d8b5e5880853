"""The client against a real gRPC server with scripted answers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from imagemill.client import MillClient, MillError, MillUnreachable
from imagemill.client.errors import from_rpc_error
from imagemill.v1.batch_pb2 import Batch, Item
from tests.unit.client.fake_mill import FakeMill, fail, serving

RECIPE = {"variants": [{"name": "small", "mode": "inside", "width": 10, "height": 10, "format": "jpeg"}]}
URLS = [f"http://example.com/{number}.jpg" for number in range(5)]


async def test_a_submitted_list_is_durable_with_everything_its_owner_gave(mill: FakeMill, client: MillClient) -> None:
    batch = await client.submit(
        URLS, recipe=RECIPE, batch_id="b1", request_id="r1", display_name="A list", labels={"from": "test"}
    )

    assert (batch.name, batch.display_name, dict(batch.labels)) == ("batches/b1", "A list", {"from": "test"})
    assert [item.source for item in mill.items["batches/b1"]] == URLS
    assert batch.recipe.variants[0].name == "small"


async def test_an_unknown_batch_is_an_error_with_the_servers_reason(client: MillClient) -> None:
    with pytest.raises(MillError) as caught:
        await client.get("batches/none")

    assert caught.value.reason == "BATCH_NOT_FOUND"
    assert caught.value.status is grpc.StatusCode.NOT_FOUND


async def test_a_mill_that_is_not_there_is_an_error_of_its_own_that_may_pass(tmp_path: Path) -> None:
    async with MillClient(f"unix:{tmp_path / 'nobody.sock'}", patience_s=0) as client:
        with pytest.raises(MillUnreachable, match=f"No mill answers at unix:{tmp_path}/nobody.sock") as caught:
            await client.get("batches/none")

    assert caught.value.reason == "UNAVAILABLE"
    assert caught.value.may_pass


def test_a_connection_that_is_lost_while_the_client_sends_is_a_mill_that_is_not_there() -> None:
    # What grpc says then, although no server has met with an error: too rare a moment to be brought about here.
    lost = AioRpcError(grpc.StatusCode.INTERNAL, Metadata(), Metadata(), details="Internal error from Core")

    assert isinstance(from_rpc_error(lost, "localhost:50051"), MillUnreachable)


async def test_batches_are_listed_over_all_pages(client: MillClient) -> None:
    for name in ("b1", "b2", "b3"):
        await client.submit(URLS, recipe=RECIPE, batch_id=name)

    assert {batch.name async for batch in client.list_batches()} == {"batches/b1", "batches/b2", "batches/b3"}


async def test_a_batch_is_meant_by_itself_its_name_or_its_id(client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")

    assert await client.get(batch) == await client.get("batches/b1") == await client.get("b1")
    assert [item.index async for item in client.items("b1")] == [0, 1, 2, 3, 4]


async def test_items_come_in_input_order_over_all_pages_and_by_state(mill: FakeMill, client: MillClient) -> None:
    mill.outcomes[URLS[3]] = fail()
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")
    async for _ in client.watch(batch.name):
        pass

    assert [item.index async for item in client.items(batch.name, page_size=2)] == [0, 1, 2, 3, 4]
    failed = client.items(batch.name, states=[Item.STATE_FAILED])
    assert [item.failure.code async for item in failed] == ["SOURCE_NOT_FOUND"]
    assert [item.index async for item in client.items(batch, states=["failed"])] == [3]


async def test_a_state_that_is_none_is_told_with_those_that_are(client: MillClient) -> None:
    with pytest.raises(ValueError, match=r"no state 'faild'; known are pending, queued, .*cancelled"):
        await anext(client.items("b1", states=["faild"]))


async def test_a_batch_is_paused_resumed_cancelled_and_reported(client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")

    assert (await client.pause(batch.name)).state == Batch.STATE_PAUSED
    assert (await client.resume(batch.name)).state == Batch.STATE_ACTIVE
    assert (await client.cancel(batch.name)).state == Batch.STATE_CANCELLED
    assert (await client.report(batch.name)).batch.progress.total == 5
    assert (await client.retry_failed(batch)).items == 0


async def test_a_call_is_repeated_until_the_mill_is_there(tmp_path: Path) -> None:
    async with MillClient(f"unix:{tmp_path / 'mill.sock'}", patience_s=20.0) as client:
        asked = asyncio.create_task(client.get("b1"))
        await asyncio.sleep(0)
        async with serving(tmp_path):
            with pytest.raises(MillError, match="BATCH_NOT_FOUND"):
                await asked


async def test_what_may_have_been_done_already_is_not_repeated(tmp_path: Path) -> None:
    async with MillClient(f"unix:{tmp_path / 'mill.sock'}", patience_s=1e9) as client:
        with pytest.raises(MillUnreachable):
            await client.retry_failed("b1")


def test_importing_the_client_loads_nothing_of_the_mill_itself() -> None:
    command = "import sys, imagemill.client; print(*(name for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True).stdout.split()

    heavy = {"sqlalchemy", "aiohttp", "httpx", "PIL", "rich", "cyclopts", "yaml", "imagemill.domain", "imagemill.codec"}
    assert heavy & set(loaded) == set()
