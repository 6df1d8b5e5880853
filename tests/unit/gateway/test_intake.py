"""What callers send, judged: bad lines are failed items, bad recipes and ids are refused calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import grpc
import pytest

from gateway.intake import LARGEST_CHUNK, take_small, take_stream
from imagemill import codec
from imagemill.domain.presets import PRESETS
from imagemill.runtime.calls import CallError
from imagemill.v1 import batch_pb2, recipe_pb2
from imagemill.v1 import batch_service_pb2 as api
from tests.support.builders import RECIPE
from tests.unit.gateway.storing import FakeStore

Variant = recipe_pb2.Variant
GOOD = "http://pictures.test/a.jpg"


def spec(batch_id: str = "b", *, priority: int = 0, recipe: recipe_pb2.Recipe | None = None) -> api.BatchSpec:
    asked = recipe if recipe is not None else codec.recipe_message(RECIPE.to_mapping())
    return api.BatchSpec(batch_id=batch_id, batch=batch_pb2.Batch(recipe=asked, priority=priority))


def sources(*uris: str) -> list[api.ItemSource]:
    return [api.ItemSource(uri=uri, source_row=row) for row, uri in enumerate(uris, start=1)]


async def stream(parts: Iterable[api.ImportBatchRequest]) -> AsyncIterator[api.ImportBatchRequest]:
    for part in parts:
        yield part


def chunk(first_index: int, *uris: str) -> api.ImportBatchRequest:
    return api.ImportBatchRequest(chunk=api.ItemChunk(first_index=first_index, items=sources(*uris)))


async def refusal(request: api.CreateBatchRequest) -> CallError:
    store = FakeStore()
    with pytest.raises(CallError) as refused:
        await take_small(store.stub, request)
    assert store.opened == []
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    return refused.value


async def import_refusal(*parts: api.ImportBatchRequest) -> CallError:
    with pytest.raises(CallError) as refused:
        await take_stream(FakeStore().stub, stream(parts))
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    return refused.value


async def test_a_small_batch_is_opened_filled_and_sealed() -> None:
    store = FakeStore()

    batch = await take_small(store.stub, api.CreateBatchRequest(spec=spec(), items=sources(GOOD, GOOD)))

    assert batch.name == "batches/b"
    (opened,) = store.opened
    assert (opened.recipe, opened.spec.batch.recipe_fingerprint) == (RECIPE.to_json(), RECIPE.fingerprint())
    assert opened.spec.batch.priority == 10
    assert [(item.index, item.host) for item in store.items.values()] == [(0, "pictures.test"), (1, "pictures.test")]
    assert store.sealed == [2]


async def test_a_batch_without_an_id_gets_one_that_is_valid() -> None:
    store = FakeStore()

    await take_small(store.stub, api.CreateBatchRequest(spec=spec("")))

    assert len(store.opened[0].spec.batch_id) == 32


async def test_lines_that_are_no_urls_become_items_that_failed_with_their_line() -> None:
    store = FakeStore()

    await take_small(store.stub, api.CreateBatchRequest(spec=spec(), items=sources(GOOD, "htp://x/a.jpg", "", "a b")))

    assert not store.items[0].HasField("failure")
    for index in (1, 2, 3):
        failure = store.items[index].failure
        assert failure.code == "SOURCE_INVALID"
        assert failure.message.startswith(f"Line {index + 1}: ")
    assert store.sealed == [4]


async def test_a_line_without_a_number_says_none() -> None:
    store = FakeStore()

    await take_small(store.stub, api.CreateBatchRequest(spec=spec(), items=[api.ItemSource(uri="nothing")]))

    assert not store.items[0].failure.message.startswith("Line")


async def test_items_that_are_to_be_skipped_say_why() -> None:
    store = FakeStore()
    skipped = api.ItemSource(uri="whatever", skip_reason="Marked with a #.")

    await take_small(store.stub, api.CreateBatchRequest(spec=spec(), items=[skipped]))

    failure = store.items[0].failure
    assert (failure.code, failure.message) == ("SKIPPED_BY_INPUT", "Marked with a #.")


@pytest.mark.parametrize("batch_id", ["UPPER", "with space", "a/b", "ü", "x" * 65, "a\n"])
async def test_an_id_that_can_not_be_is_refused(batch_id: str) -> None:
    error = await refusal(api.CreateBatchRequest(spec=spec(batch_id)))

    assert error.reason == "BATCH_INVALID"
    assert [field for field, _ in error.fields] == ["spec.batch_id"]


@pytest.mark.parametrize("priority", [-1, 101])
async def test_a_priority_out_of_range_is_refused(priority: int) -> None:
    error = await refusal(api.CreateBatchRequest(spec=spec(priority=priority)))

    assert [field for field, _ in error.fields] == ["spec.batch.priority"]


async def test_everything_that_is_wrong_is_named_at_once() -> None:
    recipe = recipe_pb2.Recipe(
        variants=[
            Variant(name="Bad Name", mode=Variant.MODE_INSIDE, width=10, height=10, format=Variant.FORMAT_JPEG),
            Variant(name="ok", mode=Variant.MODE_INSIDE, width=-5, height=10, format=Variant.FORMAT_JPEG, quality=900),
        ]
    )

    error = await refusal(api.CreateBatchRequest(spec=spec("NO", priority=500, recipe=recipe)))

    assert [field for field, _ in error.fields] == [
        "spec.batch_id", "spec.batch.priority", "spec.batch.recipe.variants[0].name",
        "spec.batch.recipe.variants[1].width", "spec.batch.recipe.variants[1].quality",
    ]  # fmt: skip
    assert all(problem in error.message for _, problem in error.fields)


async def test_a_recipe_without_variants_is_refused() -> None:
    error = await refusal(api.CreateBatchRequest(spec=spec(recipe=recipe_pb2.Recipe())))

    assert [field for field, _ in error.fields] == ["spec.batch.recipe.variants"]


async def test_too_many_items_in_one_message_are_refused_before_anything_is_opened() -> None:
    request = api.CreateBatchRequest(spec=spec(), items=[api.ItemSource(uri=GOOD)] * (LARGEST_CHUNK + 1))

    error = await refusal(request)

    assert [field for field, _ in error.fields] == ["items"]


async def test_an_import_is_taken_chunk_by_chunk() -> None:
    store = FakeStore()
    parts = [api.ImportBatchRequest(spec=spec()), chunk(0, GOOD, GOOD), chunk(2, GOOD)]

    batch = await take_stream(store.stub, stream(parts))

    assert batch.name == "batches/b"
    assert (store.appends, sorted(store.items), store.sealed) == ([2, 1], [0, 1, 2], [3])


async def test_a_list_may_come_in_several_calls() -> None:
    store, first, second = FakeStore(), spec(), spec()
    first.more_to_come = True

    begun = await take_stream(store.stub, stream([api.ImportBatchRequest(spec=first), chunk(0, GOOD), chunk(1, GOOD)]))
    assert (begun.name, store.sealed) == ("batches/b", [])
    await take_stream(store.stub, stream([api.ImportBatchRequest(spec=second), chunk(2, GOOD), chunk(3, GOOD)]))

    assert (sorted(store.items), store.sealed) == ([0, 1, 2, 3], [4])


async def test_a_small_batch_may_be_the_beginning_of_a_large_one() -> None:
    store, begun = FakeStore(), spec()
    begun.more_to_come = True

    await take_small(store.stub, api.CreateBatchRequest(spec=begun, items=sources(GOOD)))
    assert store.sealed == []
    await take_stream(store.stub, stream([api.ImportBatchRequest(spec=spec()), chunk(1, GOOD)]))

    assert store.sealed == [2]


async def test_a_call_may_send_again_what_is_there() -> None:
    store, begun = FakeStore(), spec()
    begun.more_to_come = True
    await take_stream(store.stub, stream([api.ImportBatchRequest(spec=begun), chunk(0, GOOD, GOOD, GOOD)]))

    await take_stream(store.stub, stream([api.ImportBatchRequest(spec=spec()), chunk(1, GOOD, GOOD), chunk(3, GOOD)]))

    assert (sorted(store.items), store.sealed) == ([0, 1, 2, 3], [4])


@pytest.mark.parametrize(("there", "problem"), [(0, "is 0 in a new batch"), (2, "is at most 2, ")])
async def test_a_call_that_would_leave_a_gap_is_refused(there: int, problem: str) -> None:
    store, begun = FakeStore(), spec()
    begun.more_to_come = True
    await take_small(store.stub, api.CreateBatchRequest(spec=begun, items=sources(*[GOOD] * there)))

    for first_index in (there + 1, -1):
        with pytest.raises(CallError) as refused:
            await take_stream(store.stub, stream([api.ImportBatchRequest(spec=spec()), chunk(first_index, GOOD)]))
        ((field, text),) = refused.value.fields
        assert field == "chunk.first_index"
        assert text.startswith(problem)
    assert (len(store.items), store.sealed) == (there, [])


async def test_each_chunk_is_with_the_store_before_the_next_is_read() -> None:
    store, seen = FakeStore(), list[int]()

    async def parts() -> AsyncIterator[api.ImportBatchRequest]:
        yield api.ImportBatchRequest(spec=spec())
        for first_index in range(3):
            seen.append(len(store.items))
            yield chunk(first_index, GOOD)

    await take_stream(store.stub, parts())

    assert seen == [0, 1, 2]


async def test_an_import_without_its_spec_is_refused() -> None:
    assert [field for field, _ in (await import_refusal()).fields] == ["spec"]
    assert [field for field, _ in (await import_refusal(chunk(0, GOOD))).fields] == ["spec"]


async def test_an_import_with_two_specs_is_refused() -> None:
    error = await import_refusal(*[api.ImportBatchRequest(spec=spec())] * 2)

    assert [field for field, _ in error.fields] == ["spec"]


@pytest.mark.parametrize("first_index", [0, 2, -1])
async def test_chunks_that_do_not_follow_one_another_are_refused(first_index: int) -> None:
    error = await import_refusal(api.ImportBatchRequest(spec=spec()), chunk(0, GOOD), chunk(first_index, GOOD))

    assert error.fields == (("chunk.first_index", "is 1, where the chunk before ended"),)


@pytest.mark.parametrize("name", sorted(PRESETS))
async def test_every_preset_is_a_recipe_that_is_taken(name: str) -> None:
    store = FakeStore()
    recipe = codec.recipe_message(PRESETS[name].to_mapping())

    await take_small(store.stub, api.CreateBatchRequest(spec=spec(recipe=recipe)))

    assert store.opened[0].recipe == PRESETS[name].to_json()
