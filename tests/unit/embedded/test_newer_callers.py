"""Clients of a version to come before this mill: what it does not know, it leaves aside or refuses by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from imagemill.v1 import batch_pb2
from imagemill.v1 import batch_service_pb2 as api
from tests.support.newer_protos import ADDED_FIELD, ADDED_VALUE, newer, told_by_newer
from tests.unit.embedded.conftest import Desk, spec
from tests.unit.runtime.serving import fields_of


async def ask(desk: Desk, method: str, request: Message, **new: Any) -> Any:
    """Call as the version to come does; the answer as it reads it."""
    described = api.DESCRIPTOR.services_by_name["BatchService"].methods_by_name[method]
    raw = told_by_newer(request, **new)
    call: Any = desk.channel.unary_unary(
        f"/imagemill.v1.BatchService/{method}", lambda _: raw, newer(described.output_type.name).FromString
    )
    return await call(None)


async def refusal(desk: Desk, method: str, request: Message, **new: Any) -> tuple[grpc.StatusCode, Mapping[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(desk, method, request, **new)
    return refused.value.code(), fields_of(refused.value)


async def test_fields_to_come_are_left_aside(desk: Desk) -> None:
    items = [api.ItemSource(uri=url) for url in desk.good(2)]

    created = await ask(desk, "CreateBatch", api.CreateBatchRequest(spec=spec("b"), items=items))
    await desk.until("batches/b", batch_pb2.Batch.STATE_COMPLETED)
    listed = await ask(desk, "ListItems", api.ListItemsRequest(parent="batches/b"))

    assert created.batch.name == "batches/b"
    assert getattr(created.batch, ADDED_FIELD) == ""
    assert [item.state for item in listed.items] == [batch_pb2.Item.STATE_SUCCEEDED] * 2


@pytest.mark.parametrize("name", ["mode", "format", "metadata", "color_profile"])
async def test_a_recipe_that_needs_a_newer_mill_is_refused_by_its_field(desk: Desk, name: str) -> None:
    request = api.CreateBatchRequest(spec=spec("b"), items=[api.ItemSource(uri="http://127.0.0.1/a.jpg")])

    code, fields = await refusal(desk, "CreateBatch", request, new_values=lambda field: field.name == name)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    ((field, problem),) = fields.items()
    assert field.startswith("spec.batch.recipe.")
    assert field.endswith(name)
    assert str(ADDED_VALUE) in problem


async def test_a_state_to_come_is_refused_by_its_field(desk: Desk) -> None:
    await desk.create("b", desk.good(1))
    request = api.ListItemsRequest(parent="batches/b", states=[ADDED_VALUE])  # type: ignore[list-item]  # no state yet

    assert await refusal(desk, "ListItems", request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        {"states": "is one of Item.State's, UNSPECIFIED aside"},
    )


async def test_a_view_to_come_tells_of_progress(desk: Desk) -> None:
    await desk.finished("b", desk.good(1))
    request = api.WatchBatchRequest(name="batches/b", view=ADDED_VALUE)  # type: ignore[arg-type]  # no view yet

    updates = [answer.update async for answer in desk.mill.WatchBatch(request)]

    assert updates[-1].kind == api.BatchUpdate.KIND_END
    assert [list(update.items) for update in updates] == [[]] * len(updates)
    assert updates[-1].batch.progress.succeeded == 1
