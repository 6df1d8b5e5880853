"""The client against a real gRPC server with scripted answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from imagemill.client import MillClient, MillError
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch, Item
from tests.unit.client.fake_mill import FakeMill, fail, serving

RECIPE = {"variants": [{"name": "small", "mode": "inside", "width": 10, "height": 10, "format": "jpeg"}]}
URLS = [f"http://example.com/{number}.jpg" for number in range(5)]


@pytest.fixture
async def mill(tmp_path: Path) -> AsyncIterator[FakeMill]:
    async with serving(tmp_path) as fake:
        yield fake


@pytest.fixture
async def client(mill: FakeMill) -> AsyncIterator[MillClient]:
    async with MillClient(mill.target) as connected:
        yield connected


async def test_a_submitted_list_is_durable_with_everything_its_owner_gave(mill: FakeMill, client: MillClient) -> None:
    batch = await client.submit(
        URLS, recipe=RECIPE, batch_id="b1", request_id="r1", display_name="A list", labels={"from": "test"}
    )

    assert (batch.name, batch.display_name, dict(batch.labels)) == ("batches/b1", "A list", {"from": "test"})
    assert [item.source for item in mill.items["batches/b1"]] == URLS
    assert batch.recipe.variants[0].name == "small"


async def test_a_long_list_travels_in_bounded_chunks(mill: FakeMill, client: MillClient) -> None:
    sent: list[int] = []

    await client.submit(
        (f"http://example.com/{n}" for n in range(2500)), recipe=RECIPE, batch_id="b1", on_sent=sent.append
    )

    assert mill.chunks == [1000, 1000, 500]
    assert sent == [1000, 2000, 2500]
    assert len(mill.items["batches/b1"]) == 2500


async def test_long_lines_travel_in_chunks_of_bounded_bytes(mill: FakeMill, client: MillClient) -> None:
    await client.submit(("x" * 60_000 for _ in range(10)), recipe=RECIPE, batch_id="b1")

    assert mill.chunks == [4, 4, 2]


async def test_an_asynchronous_list_is_taken_as_well(mill: FakeMill, client: MillClient) -> None:
    async def arriving() -> AsyncIterator[api.ItemSource | str]:
        yield api.ItemSource(uri=URLS[0], source_row=7)
        yield URLS[1]

    await client.submit(arriving(), recipe=RECIPE, batch_id="b1")

    assert [(item.source, item.source_row) for item in mill.items["batches/b1"]] == [(URLS[0], 7), (URLS[1], 0)]


async def test_a_refused_submission_says_reason_and_fields(mill: FakeMill, client: MillClient) -> None:
    mill.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "RECIPE_INVALID", {"recipe.variants": "at least one is needed"})

    with pytest.raises(MillError, match="RECIPE_INVALID") as caught:
        await client.submit((f"{URL}{n}" for n in range(50_000)), recipe=RECIPE)

    assert caught.value.fields == {"recipe.variants": "at least one is needed"}
    assert not caught.value.may_pass


async def test_an_error_while_reading_the_list_is_the_callers_own(mill: FakeMill, client: MillClient) -> None:
    def broken() -> Iterator[str]:
        yield URLS[0]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        await client.submit(broken(), recipe=RECIPE, batch_id="b1")


async def test_an_unknown_batch_is_an_error_with_the_servers_reason(client: MillClient) -> None:
    with pytest.raises(MillError) as caught:
        await client.get("batches/none")

    assert caught.value.reason == "BATCH_NOT_FOUND"
    assert caught.value.status is grpc.StatusCode.NOT_FOUND


async def test_a_server_that_is_not_there_is_an_error_that_may_pass(tmp_path: Path) -> None:
    async with MillClient(f"unix:{tmp_path / 'nobody.sock'}") as client:
        with pytest.raises(MillError) as caught:
            await client.get("batches/none")

    assert caught.value.reason == "UNAVAILABLE"
    assert caught.value.may_pass


async def test_batches_are_listed_over_all_pages(client: MillClient) -> None:
    for name in ("b1", "b2", "b3"):
        await client.submit(URLS, recipe=RECIPE, batch_id=name)

    assert {batch.name async for batch in client.list_batches()} == {"batches/b1", "batches/b2", "batches/b3"}


async def test_items_come_in_input_order_over_all_pages_and_by_state(mill: FakeMill, client: MillClient) -> None:
    mill.outcomes[URLS[3]] = fail()
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")
    async for _ in client.watch(batch.name):
        pass

    assert [item.index async for item in client.items(batch.name, page_size=2)] == [0, 1, 2, 3, 4]
    failed = client.items(batch.name, states=[Item.STATE_FAILED])
    assert [item.failure.code async for item in failed] == ["SOURCE_NOT_FOUND"]


async def test_a_watch_tells_every_change_and_ends_with_the_batch(client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")

    updates = [update async for update in client.watch(batch.name, view=api.WATCH_VIEW_ITEMS)]

    assert [update.kind for update in updates][-1] == api.BatchUpdate.KIND_END
    assert [item.index for update in updates for item in update.items] == [0, 1, 2, 3, 4]


async def test_a_broken_watch_goes_on_behind_what_was_told(mill: FakeMill, client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")
    mill.batches["b1"].revision = 41
    mill.breaks = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE]

    updates = [update async for update in client.watch(batch.name)]

    assert [watch.after_revision for watch in mill.watches] == [0, 41, 41]
    assert updates[-1].kind == api.BatchUpdate.KIND_END


async def test_a_watch_that_is_refused_is_not_tried_again(mill: FakeMill, client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")
    mill.breaks = [grpc.StatusCode.PERMISSION_DENIED]

    with pytest.raises(MillError, match="PERMISSION_DENIED"):
        async for _ in client.watch(batch.name):
            pass

    assert len(mill.watches) == 1


async def test_a_watch_of_a_server_that_stays_away_gives_up(tmp_path: Path) -> None:
    async with MillClient(f"unix:{tmp_path / 'nobody.sock'}") as client:
        with pytest.raises(MillError, match="UNAVAILABLE"):
            async for _ in client.watch("batches/b1", give_up_after_s=0.2):
                pass


async def test_a_batch_is_paused_resumed_cancelled_and_reported(client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")

    assert (await client.pause(batch.name)).state == Batch.STATE_PAUSED
    assert (await client.resume(batch.name)).state == Batch.STATE_ACTIVE
    assert (await client.cancel(batch.name)).state == Batch.STATE_CANCELLED
    assert (await client.report(batch.name)).batch.progress.total == 5


URL = "http://example.com/"
