"""A server answers before its services can be made, and says the right thing meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagemill.runtime.health import Parts
from imagemill.runtime.serving import ALIVE, AddressTaken, Serving, dial
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_service_pb2_grpc import (
    BatchServiceServicer,
    BatchServiceStub,
    add_BatchServiceServicer_to_server,
)
from tests.unit.runtime.serving import NAME, partial, reason_of

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Counting(BatchServiceServicer):
    """Answers two calls."""

    async def ListBatches(self, request: api.ListBatchesRequest, context: Any) -> api.ListBatchesResponse:
        return api.ListBatchesResponse(next_page_token="more")

    async def WatchBatch(self, request: api.WatchBatchRequest, context: Any) -> Any:
        yield api.WatchBatchResponse()
        yield api.WatchBatchResponse()


def register(server: grpc.aio.Server) -> None:
    add_BatchServiceServicer_to_server(partial(Counting), server)


def target_in(folder: Path) -> str:
    return f"unix:{folder}/served.sock"


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    answer = anext(aiter(call)) if hasattr(call, "__aiter__") else call
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await answer
    return error.value.code(), reason_of(error.value)


async def test_calls_that_come_too_soon_are_told_to_come_again(tmp_path: Path) -> None:
    async with Serving().begun(target_in(tmp_path), (NAME,)), dial(target_in(tmp_path)) as channel:
        stub = BatchServiceStub(channel)
        away = (grpc.StatusCode.UNAVAILABLE, "PART_UNAVAILABLE")

        assert await refused(stub.ListBatches(api.ListBatchesRequest())) == away
        assert await refused(stub.WatchBatch(api.WatchBatchRequest())) == away


@pytest.mark.parametrize("method", [f"/{NAME}/Anything", "/imagemill.v1.StorageService/OpenBatch"])
async def test_calls_that_nobody_will_ever_answer_are_told_so_at_once(tmp_path: Path, method: str) -> None:
    async with Serving().begun(target_in(tmp_path), (NAME,)) as serving, dial(target_in(tmp_path)) as channel:
        call: Any = channel.unary_unary(method, request_serializer=bytes)
        unknown = (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")

        assert await refused(call(b"")) == unknown
        async with serving.open(target_in(tmp_path), (NAME,), register):
            assert await refused(call(b"")) == unknown


async def test_services_that_have_come_answer_until_they_are_closed(tmp_path: Path) -> None:
    target = target_in(tmp_path)
    async with Serving().begun(target, (NAME,)) as serving, dial(target) as channel:
        stub = BatchServiceStub(channel)
        async with serving.open(target, (NAME,), register):
            answer = await stub.ListBatches(api.ListBatchesRequest(), wait_for_ready=True)
            assert answer.next_page_token == "more"
            assert len([each async for each in stub.WatchBatch(api.WatchBatchRequest())]) == 2

        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await stub.ListBatches(api.ListBatchesRequest())
        assert gone.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_that_has_begun_is_alive_and_not_ready(tmp_path: Path) -> None:
    target = target_in(tmp_path)
    async with Serving(Parts()).begun(target, (NAME,)), dial(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        for service, status in ((ALIVE, SERVING), (NAME, NOT_SERVING), ("", NOT_SERVING)):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), wait_for_ready=True)
            assert answer.status == status


async def test_an_address_that_is_taken_is_told_before_anything_else() -> None:
    async with Serving().open("127.0.0.1:0") as port:
        with pytest.raises(AddressTaken):
            async with Serving().begun(f"127.0.0.1:{port}", (NAME,)):
                pytest.fail("nothing can have begun")
