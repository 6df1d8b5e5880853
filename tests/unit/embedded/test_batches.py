"""Batches through the public contract: taken, listed, controlled, reported on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Awaitable, Callable

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1 import recipe_pb2
from imagemill.v1.batch_pb2 import Batch, Item
from tests.support.builders import RECIPE
from tests.support.eventually import eventually
from tests.support.picture_server import picture, status
from tests.unit.embedded.conftest import GOOD, PATIENCE_S, Desk, spec
from tests.unit.runtime.serving import fields_of, reason_of


async def refusal(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


async def test_a_batch_is_taken_worked_off_and_told_item_by_item(desk: Desk) -> None:
    twin = desk.server.route("/twin.jpg", picture(GOOD + b"\0"))
    gone = desk.server.route("/gone.jpg", status(404))

    created = await desk.create("mixed", [twin, gone, "no url", twin], client_id="me")
    assert (created.name, created.state) == ("batches/mixed", Batch.STATE_ACTIVE)
    assert created.progress.total == 4
    batch = await desk.until(created.name, Batch.STATE_COMPLETED)

    progress = batch.progress
    assert (progress.succeeded, progress.failed, progress.total) == (2, 2, 4)
    assert batch.recipe_fingerprint == RECIPE.fingerprint()
    assert batch.display_name == "Test"
    assert batch.HasField("end_time")
    first, missing, invalid, second = await desk.items(batch.name)
    assert [item.state for item in (first, second)] == [Item.STATE_SUCCEEDED] * 2
    assert [render.variant for render in first.renders] == ["fit-256"]
    assert (first.original.width, first.original.format, first.original.http_status) == (64, "jpeg", 200)
    assert (second.HasField("duplicate_of"), second.duplicate_of) == (True, 0)
    assert (missing.failure.code, missing.failure.http_status, missing.attempts) == ("SOURCE_NOT_FOUND", 404, 1)
    assert (invalid.failure.code, invalid.attempts) == ("SOURCE_INVALID", 0)
    assert all(item.HasField("end_time") for item in (first, missing, invalid, second))


async def test_a_repeat_of_a_request_returns_the_same_batch(desk: Desk) -> None:
    first = await desk.create("", desk.good(2), request_id="once")
    again = await desk.create("", desk.good(2), request_id="once")
    other = await desk.create("", desk.good(2), request_id="another")

    assert again.name == first.name != other.name
    assert re.fullmatch(r"batches/[a-z0-9-]{1,64}", first.name)
    assert again.progress.total == 2


async def test_an_id_that_is_taken_by_another_recipe_is_refused(desk: Desk) -> None:
    await desk.create("taken", [])
    other = spec("taken")
    other.batch.recipe.variants[0].width = 100

    error = await refusal(desk.mill.CreateBatch(api.CreateBatchRequest(spec=other)))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.ALREADY_EXISTS, "BATCH_EXISTS")
    assert list(fields_of(error)) == ["spec.batch_id"]


async def test_a_bad_recipe_is_refused_with_every_field_that_is_wrong(desk: Desk) -> None:
    wrong = spec("b")
    wrong.batch.recipe.variants.add(name="fit-256", mode=recipe_pb2.Variant.MODE_SCALE, scale=-1)

    error = await refusal(desk.mill.CreateBatch(api.CreateBatchRequest(spec=wrong)))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_INVALID")
    assert {field.removeprefix("spec.batch.recipe.") for field in fields_of(error)} >= {
        "variants[1].name", "variants[1].scale",
    }  # fmt: skip
    missing = await refusal(desk.mill.GetBatch(api.GetBatchRequest(name="batches/b")))
    assert missing.code() is grpc.StatusCode.NOT_FOUND


async def test_an_import_that_broke_off_is_repeated_and_nothing_is_there_twice(desk: Desk) -> None:
    urls = desk.good(5)

    def chunk(first: int, last: int) -> api.ImportBatchRequest:
        items = [api.ItemSource(uri=url) for url in urls[first:last]]
        return api.ImportBatchRequest(chunk=api.ItemChunk(first_index=first, items=items))

    broken = desk.mill.ImportBatch()
    await broken.write(api.ImportBatchRequest(spec=spec("import")))
    await broken.write(chunk(0, 2))

    await _until_received(desk, "batches/import", 2)
    broken.cancel()
    assert (await desk.get("batches/import")).state == Batch.STATE_RECEIVING

    for _ in range(2):
        whole = desk.mill.ImportBatch()
        for part in (api.ImportBatchRequest(spec=spec("import")), chunk(0, 2), chunk(2, 4), chunk(4, 5)):
            await whole.write(part)
        await whole.done_writing()
        response: api.ImportBatchResponse = await whole
        assert response.batch.progress.total == 5

    batch = await desk.until("batches/import", Batch.STATE_COMPLETED)
    assert batch.progress.succeeded == 5
    assert sorted(desk.server.requests.values()) == [1] * 5


async def test_items_come_in_pages_without_repeats_and_by_state_and_code(desk: Desk) -> None:
    gone = desk.server.route("/gone.jpg", status(404))
    batch = await desk.finished("pages", [*desk.good(3), gone, "no url", gone])

    async def listed(**choice: object) -> list[int]:
        found: list[int] = []
        token = ""
        for _ in range(10):
            request = api.ListItemsRequest(parent=batch.name, page_size=2, page_token=token, **choice)  # type: ignore[arg-type]  # fields by name
            response: api.ListItemsResponse = await desk.mill.ListItems(request)
            found += [item.index for item in response.items]
            assert len(response.items) <= 2
            token = response.next_page_token
            if not token:
                return found
        raise AssertionError("the pages have no end")

    assert await listed() == [0, 1, 2, 3, 4, 5]
    assert await listed(states=[Item.STATE_FAILED]) == [3, 4, 5]
    assert await listed(error_codes=["SOURCE_NOT_FOUND"]) == [3, 5]
    assert await listed(states=[Item.STATE_SUCCEEDED], error_codes=["SOURCE_NOT_FOUND"]) == []


async def test_batches_come_in_pages_newest_first_and_by_client(desk: Desk) -> None:
    for number in range(5):
        await desk.create(f"batch-{number}", [], client_id="odd" if number % 2 else "even")

    names, token = list[str](), ""
    while True:
        request = api.ListBatchesRequest(page_size=2, page_token=token)
        response: api.ListBatchesResponse = await desk.mill.ListBatches(request)
        names += [batch.name for batch in response.batches]
        token = response.next_page_token
        if not token:
            break

    assert names == [f"batches/batch-{number}" for number in reversed(range(5))]
    odd: api.ListBatchesResponse = await desk.mill.ListBatches(api.ListBatchesRequest(client_id="odd"))
    assert [batch.name for batch in odd.batches] == ["batches/batch-3", "batches/batch-1"]


BAD_NAMES = ["", "b", "batches/", "batches/b/items/1", "items/b"]
Ask = Callable[[Desk, str], Awaitable[object]]


async def _first(responses: AsyncIterable[object]) -> object:
    return await anext(aiter(responses))


BY_NAME: dict[str, Ask] = {
    "GetBatch": lambda desk, name: desk.mill.GetBatch(api.GetBatchRequest(name=name)),
    "ListItems": lambda desk, name: desk.mill.ListItems(api.ListItemsRequest(parent=name)),
    "PauseBatch": lambda desk, name: desk.mill.PauseBatch(api.PauseBatchRequest(name=name)),
    "ResumeBatch": lambda desk, name: desk.mill.ResumeBatch(api.ResumeBatchRequest(name=name)),
    "CancelBatch": lambda desk, name: desk.mill.CancelBatch(api.CancelBatchRequest(name=name)),
    "RetryFailedItems": lambda desk, name: desk.mill.RetryFailedItems(api.RetryFailedItemsRequest(name=name)),
    "GetBatchReport": lambda desk, name: desk.mill.GetBatchReport(api.GetBatchReportRequest(name=name)),
    "WatchBatch": lambda desk, name: _first(desk.mill.WatchBatch(api.WatchBatchRequest(name=name))),
}


async def test_every_call_refuses_names_that_are_none_and_batches_that_are_not_there(desk: Desk) -> None:
    for method, ask in BY_NAME.items():
        field = "parent" if method == "ListItems" else "name"
        for name in BAD_NAMES:
            error = await refusal(ask(desk, name))
            assert (method, error.code()) == (method, grpc.StatusCode.INVALID_ARGUMENT)
            assert fields_of(error) == {field: "has the form batches/{batch}"}
        error = await refusal(ask(desk, "batches/nowhere"))
        assert (method, error.code(), reason_of(error)) == (method, grpc.StatusCode.NOT_FOUND, "BATCH_NOT_FOUND")


async def test_pages_that_can_not_be_are_refused(desk: Desk) -> None:
    await desk.create("b", [])
    wrong: list[tuple[str, Awaitable[object]]] = [
        ("page_size", desk.mill.ListItems(api.ListItemsRequest(parent="batches/b", page_size=-1))),
        ("page_size", desk.mill.ListBatches(api.ListBatchesRequest(page_size=-1))),
        ("states", desk.mill.ListItems(api.ListItemsRequest(parent="batches/b", states=[77]))),  # type: ignore[list-item]  # the point
    ]
    for token in ("x", "-1", "1.5", "9" * 40):
        request = api.ListItemsRequest(parent="batches/b", page_token=token)
        wrong.append(("page_token", desk.mill.ListItems(request)))
    wrong += [
        ("page_token", desk.mill.ListBatches(api.ListBatchesRequest(page_token=token))) for token in ("x", "/", "x/b")
    ]

    for field, call in wrong:
        error = await refusal(call)
        assert (error.code(), list(fields_of(error))) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_a_paused_batch_takes_up_nothing_until_it_is_resumed(desk: Desk) -> None:
    call = desk.mill.ImportBatch()
    await call.write(api.ImportBatchRequest(spec=spec("pause")))
    await _until_received(desk, "batches/pause", 0)
    error = await refusal(desk.mill.PauseBatch(api.PauseBatchRequest(name="batches/pause")))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS")
    call.cancel()

    stuck = await desk.create("stuck", [desk.stuck()])
    paused: api.PauseBatchResponse = await desk.mill.PauseBatch(api.PauseBatchRequest(name=stuck.name))
    assert paused.batch.state == Batch.STATE_PAUSED
    again: api.PauseBatchResponse = await desk.mill.PauseBatch(api.PauseBatchRequest(name=stuck.name))
    assert again.batch.revision == paused.batch.revision

    retried: api.ResumeBatchResponse = await desk.mill.ResumeBatch(api.ResumeBatchRequest(name=stuck.name))
    assert retried.batch.state == Batch.STATE_ACTIVE


async def test_cancelling_drops_what_runs_and_marks_what_waits(desk: Desk) -> None:
    done = desk.good(1)
    batch = await desk.create("cancel", [*done, desk.stuck()])

    async def one_is_done_and_one_runs() -> bool:
        progress = (await desk.get(batch.name)).progress
        return progress.succeeded == 1 and desk.server.open_now == 1

    await eventually(one_is_done_and_one_runs, timeout_s=PATIENCE_S)
    await desk.mill.CancelBatch(api.CancelBatchRequest(name=batch.name))
    ended = await desk.until(batch.name, Batch.STATE_CANCELLED)

    assert (ended.progress.succeeded, ended.progress.cancelled) == (1, 1)
    assert [item.state for item in await desk.items(batch.name)] == [Item.STATE_SUCCEEDED, Item.STATE_CANCELLED]
    # The worker heard of it: the download that would have taken half a minute is gone.
    await eventually(lambda: desk.server.open_now == 0)
    repeated: api.CancelBatchResponse = await desk.mill.CancelBatch(api.CancelBatchRequest(name=batch.name))
    assert repeated.batch.state == Batch.STATE_CANCELLED
    for ask in (BY_NAME["PauseBatch"], BY_NAME["ResumeBatch"], BY_NAME["RetryFailedItems"]):
        error = await refusal(ask(desk, batch.name))
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS")


async def test_a_finished_batch_can_not_be_cancelled(desk: Desk) -> None:
    batch = await desk.finished("done", desk.good(1))

    error = await refusal(desk.mill.CancelBatch(api.CancelBatchRequest(name=batch.name)))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS")


async def test_failed_items_are_tried_again_on_request(desk: Desk) -> None:
    late = desk.server.route("/late.jpg", status(404), picture(GOOD))
    batch = await desk.finished("again", [late, "no url"])
    assert batch.progress.failed == 2

    response: api.RetryFailedItemsResponse = await desk.mill.RetryFailedItems(
        api.RetryFailedItemsRequest(name=batch.name)
    )
    assert (response.items, response.batch.state) == (1, Batch.STATE_ACTIVE)

    ended = await desk.until(batch.name, Batch.STATE_COMPLETED)
    assert (ended.progress.succeeded, ended.progress.failed) == (1, 1)
    assert [item.attempts for item in await desk.items(batch.name)] == [2, 0]


async def test_a_report_tells_what_became_of_a_batch(desk: Desk) -> None:
    gone = desk.server.route("/gone.jpg", status(404))
    batch = await desk.finished("report", [*desk.good(3), gone])

    response: api.GetBatchReportResponse = await desk.mill.GetBatchReport(api.GetBatchReportRequest(name=batch.name))

    report = response.report
    assert report.success_rate == pytest.approx(0.75)
    assert [(each.code, each.count) for each in report.errors] == [("SOURCE_NOT_FOUND", 1)]
    assert dict(report.formats) == {"jpeg": 3}
    assert set(report.durations_ms) == {"download", "decode", "resize", "encode", "store"}


async def test_the_mill_says_that_it_serves(desk: Desk) -> None:
    health = health_pb2_grpc.HealthStub(desk.channel)

    for service in ("", "imagemill.v1.BatchService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def _until_received(desk: Desk, name: str, items: int) -> None:
    async def received() -> bool:
        page: api.ListBatchesResponse = await desk.mill.ListBatches(api.ListBatchesRequest())
        return any(batch.name == name and batch.progress.total == items for batch in page.batches)

    await eventually(received, timeout_s=PATIENCE_S)
