"""Lists handed in, of any length and from anywhere, through broken connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from imagemill.client import MillClient, MillError, MillUnreachable
from imagemill.client.chunks import MOST_CHUNKS
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch
from tests.unit.client.fake_mill import FakeMill

RECIPE = {"variants": [{"name": "small", "mode": "inside", "width": 10, "height": 10, "format": "jpeg"}]}
URLS = [f"http://example.com/{number}.jpg" for number in range(5)]


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
        await client.submit((f"http://example.com/{n}" for n in range(50_000)), recipe=RECIPE)

    assert caught.value.fields == {"recipe.variants": "at least one is needed"}
    assert not caught.value.may_pass


async def test_an_error_while_reading_the_list_is_the_callers_own(mill: FakeMill, client: MillClient) -> None:
    def broken() -> Iterator[str]:
        yield URLS[0]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        await client.submit(broken(), recipe=RECIPE, batch_id="b1")


async def test_a_very_long_list_travels_in_several_calls_of_one_batch(mill: FakeMill, client: MillClient) -> None:
    lines = [f"line {n}" for n in range(2 * MOST_CHUNKS * 1000)]

    batch = await client.submit(iter(lines), recipe=RECIPE)

    assert [spec.more_to_come for spec in mill.specs] == [True, False]
    assert [item.source for item in mill.items[batch.name]] == lines
    assert batch.state == Batch.STATE_ACTIVE


async def test_what_a_broken_connection_leaves_in_doubt_is_sent_again(mill: FakeMill, client: MillClient) -> None:
    mill.import_breaks = [2, 0]
    sent: list[int] = []

    batch = await client.submit((f"line {n}" for n in range(3500)), recipe=RECIPE, on_sent=sent.append)

    assert len(mill.specs) == 3
    assert len({spec.request_id for spec in mill.specs}) == 1
    assert mill.specs[0].request_id
    assert [item.source for item in mill.items[batch.name]] == [f"line {n}" for n in range(3500)]
    assert sent == sorted(sent)
    assert sent[-1] == 3500


async def test_each_submission_is_one_of_its_own_unless_its_owner_says_otherwise(
    mill: FakeMill, client: MillClient
) -> None:
    await client.submit(URLS, recipe=RECIPE)
    await client.submit(URLS, recipe=RECIPE)
    await client.submit(URLS, recipe=RECIPE, request_id="mine")

    first, second, third = (spec.request_id for spec in mill.specs)
    assert len({first, second, third}) == 3
    assert third == "mine"


async def test_a_list_is_not_sent_for_ever(mill: FakeMill) -> None:
    mill.import_breaks = [0] * 1000

    async with MillClient(mill.target, patience_s=0.3) as client:
        with pytest.raises(MillUnreachable):
            await client.submit(URLS, recipe=RECIPE)


async def test_an_empty_list_is_a_batch_without_items(mill: FakeMill, client: MillClient) -> None:
    batch = await client.submit([], recipe=RECIPE)

    assert mill.items[batch.name] == []
