"""The client and the command before a mill of a version to come, which says more than they know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from imagemill.client import MillClient, state_word
from imagemill.v1 import batch_service_pb2 as api
from tests.support.cluster import IMAGEMILL
from tests.support.newer_protos import ADDED_VALUE, told_by_newer
from tests.support.processes import Ended, Program
from tests.unit.client.fake_mill import FakeMill, fail, serving

RECIPE = {"variants": [{"name": "small", "mode": "inside", "width": 10, "height": 10, "format": "jpeg"}]}
URLS = [f"http://example.com/{number}.jpg" for number in range(3)]


def is_new(field: FieldDescriptor) -> bool:
    """Everything but the kind of an update: a watch ends with one."""
    return field.name != "kind"


def handler(mill: FakeMill, method: MethodDescriptor) -> Any:
    """What answers a call as the version to come does."""
    sides = ("stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming))
    make = getattr(grpc, f"{'_'.join(sides)}_rpc_method_handler")
    read = GetMessageClass(method.input_type).FromString
    return make(getattr(mill, method.name), read, partial(told_by_newer, new_values=is_new))


def register_newer(mill: FakeMill, server: grpc.aio.Server) -> None:
    service = api.DESCRIPTOR.services_by_name["BatchService"]
    handlers = {method.name: handler(mill, method) for method in service.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


@pytest.fixture
async def mill(tmp_path: Path) -> AsyncIterator[FakeMill]:
    async with serving(tmp_path, register=register_newer) as fake:
        fake.outcomes[URLS[1]] = fail("OF_THE_FUTURE", "It is not yet known.", 0)
        yield fake


@pytest.fixture
async def client(mill: FakeMill) -> AsyncIterator[MillClient]:
    async with MillClient(mill.target) as connected:
        yield connected


async def test_all_that_can_be_asked_is_answered(client: MillClient) -> None:
    batch = await client.submit(URLS, recipe=RECIPE, batch_id="b1")
    updates = [update async for update in client.watch(batch)]
    items = [item async for item in client.items(batch)]

    assert (batch.name, batch.state, state_word(batch)) == ("batches/b1", ADDED_VALUE, f"unknown_{ADDED_VALUE}")
    assert updates[-1].kind == api.BatchUpdate.KIND_END
    assert [(item.index, state_word(item)) for item in items] == [(n, f"unknown_{ADDED_VALUE}") for n in range(3)]
    assert items[1].failure.code == "OF_THE_FUTURE"
    assert [each.name async for each in client.list_batches()] == ["batches/b1"]
    for act in (client.get, client.pause, client.resume, client.cancel):
        assert (await act(batch)).name == batch.name
    assert (await client.report(batch)).batch.progress.total == 3


async def test_an_update_of_a_kind_to_come_is_handed_on_and_ends_nothing(mill: FakeMill, client: MillClient) -> None:
    await client.submit(URLS, recipe=RECIPE, batch_id="b1")
    mill.stories.append([api.BatchUpdate(kind=ADDED_VALUE, revision=0)])  # type: ignore[arg-type]  # no kind yet

    kinds = [update.kind async for update in client.watch("b1")]

    assert kinds[0] == ADDED_VALUE
    assert kinds[-1] == api.BatchUpdate.KIND_END


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("get", "b1"), "unknown_99"),
        (("list",), "unknown_99"),
        (("items", "b1"), "unknown_99"),
        (("items", "b1", "-o", "json"), "UNKNOWN_99"),
        (("get", "b1", "-o", "json"), "UNKNOWN_99"),
        (("report", "b1"), "b1"),
        (("report", "b1", "-o", "json"), "UNKNOWN_99"),
        (("watch", "b1"), "b1"),
        (("pause", "b1"), "b1"),
    ],
)
async def test_the_command_shows_what_it_does_not_know_as_unknown(
    mill: FakeMill, client: MillClient, tmp_path: Path, words: tuple[str, ...], seen: str
) -> None:
    await client.submit(URLS, recipe=RECIPE, batch_id="b1")
    async for _ in client.watch("b1"):
        pass

    def ask() -> Ended:
        return Program([IMAGEMILL, *words, "--to", mill.target], tmp_path).ended()

    ended = await asyncio.to_thread(ask)

    assert ended.err == ""
    assert seen in ended.out, ended.said
