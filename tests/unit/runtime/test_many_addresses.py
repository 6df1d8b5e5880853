"""Where a service has several replicas behind one name, its callers use all of them, and find new ones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest

from imagemill.runtime import serving
from imagemill.runtime.serving import dial, serve_grpc
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2_grpc import (
    BatchServiceServicer,
    BatchServiceStub,
    add_BatchServiceServicer_to_server,
)
from tests.support.eventually import eventually
from tests.unit.runtime.serving import NAME, partial

SHORT_S = 0.1


class Replica(BatchServiceServicer):
    """Answers with its own name, and watches until it is told to end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.end = asyncio.Event()
        self.connections: set[str] = set()

    async def GetBatch(
        self, request: api.GetBatchRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> api.GetBatchResponse:
        self.connections.add(context.peer())
        return api.GetBatchResponse(batch=Batch(name=self.name))

    async def WatchBatch(
        self, request: api.WatchBatchRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> AsyncIterator[api.WatchBatchResponse]:
        yield api.WatchBatchResponse()
        await self.end.wait()
        yield api.WatchBatchResponse()


async def serve(stack: AsyncExitStack, replica: BatchServiceServicer, listen: str = "127.0.0.1:0") -> int:
    return await stack.enter_async_context(
        serve_grpc(listen, (NAME,), lambda server: add_BatchServiceServicer_to_server(replica, server))
    )


async def test_calls_take_turns_among_all_addresses_of_a_target() -> None:
    async with AsyncExitStack() as stack:
        ports = [await serve(stack, partial(Replica, name)) for name in ("one", "two")]
        channel = await stack.enter_async_context(dial("ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)))
        stub = BatchServiceStub(channel)
        answers: Counter[str] = Counter()

        async def both_answer() -> bool:
            answers[(await stub.GetBatch(api.GetBatchRequest())).batch.name] += 1
            return len(answers) == 2

        await eventually(both_answer)
        answers.clear()
        for _ in range(20):
            answers[(await stub.GetBatch(api.GetBatchRequest())).batch.name] += 1

    assert answers == {"one": 10, "two": 10}


async def test_a_replica_that_ends_costs_no_call_and_the_others_take_its_turns() -> None:
    async with AsyncExitStack() as stack, AsyncExitStack() as ending:
        ports = [await serve(ending, partial(Replica, "one")), await serve(stack, partial(Replica, "two"))]
        channel = await stack.enter_async_context(dial("ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)))
        stub = BatchServiceStub(channel)

        async def answers(name: str) -> bool:
            return (await stub.GetBatch(api.GetBatchRequest())).batch.name == name

        await eventually(lambda: answers("one"))
        await ending.aclose()

        assert [await answers("two") for _ in range(10)] == [True] * 10


async def test_neither_calls_nor_watches_notice_that_a_connection_has_grown_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "CONNECTION_AGE_S", SHORT_S)
    replica = Replica("one")  # type: ignore[abstract]  # it has the methods that are called
    async with AsyncExitStack() as stack:
        port = await serve(stack, replica)
        channel = await stack.enter_async_context(dial(f"127.0.0.1:{port}"))
        stub = BatchServiceStub(channel)
        watch = stub.WatchBatch(api.WatchBatchRequest())
        answers = aiter(watch)
        await anext(answers)

        async def is_on_the_third_connection() -> bool:
            await stub.GetBatch(api.GetBatchRequest())
            return len(replica.connections) >= 3

        await eventually(is_on_the_third_connection)
        replica.end.set()
        assert [answer async for answer in answers] == [api.WatchBatchResponse()]


async def test_a_proxy_in_the_environment_is_not_asked_for_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with AsyncExitStack() as stack:
        port = await serve(stack, partial(Replica, "alone"))
        channel = await stack.enter_async_context(dial(f"127.0.0.1:{port}"))

        answer = await BatchServiceStub(channel).GetBatch(api.GetBatchRequest(name=NAME), timeout=5.0)

    assert answer.batch.name == "alone"
