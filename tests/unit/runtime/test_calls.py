"""What a failed call tells its caller, and what never leaves a server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.relay import Relay
from imagemill.adapters.memory_broker import MemoryBroker
from imagemill.ports.broker import BrokerUnavailable
from imagemill.ports.records import RecordsUnavailable
from imagemill.runtime.calls import CallError, Context, invalid, not_found
from imagemill.v1 import batch_service_pb2 as api
from imagemill.v1.batch_service_pb2_grpc import BatchServiceServicer, BatchServiceStub
from imagemill.v1.storage_service_pb2_grpc import StorageServiceStub
from tests.unit.runtime.serving import NAME, fields_of, partial, reason_of, served

SECRET = "postgres://mill:hunter2@10.0.0.5/mill"


class Raising(BatchServiceServicer):
    """Raises what it was told to, in a call of each kind; the stream has sent a message before."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def GetBatch(self, request: api.GetBatchRequest, context: Context) -> api.GetBatchResponse:
        raise self._error

    async def CancelBatch(self, request: api.CancelBatchRequest, context: Context) -> api.CancelBatchResponse:
        return api.CancelBatchResponse()

    async def ImportBatch(
        self, request_iterator: AsyncIterator[api.ImportBatchRequest], context: Context
    ) -> api.ImportBatchResponse:
        async for _ in request_iterator:
            raise self._error
        return api.ImportBatchResponse()

    async def WatchBatch(
        self, request: api.WatchBatchRequest, context: Context
    ) -> AsyncIterator[api.WatchBatchResponse]:
        yield api.WatchBatchResponse(update=api.BatchUpdate(revision=7))
        raise self._error


async def call_unary(channel: grpc.aio.Channel) -> None:
    await BatchServiceStub(channel).GetBatch(api.GetBatchRequest(name="batches/b"))


async def call_with_a_stream(channel: grpc.aio.Channel) -> None:
    call = BatchServiceStub(channel).ImportBatch(iter([api.ImportBatchRequest()]))
    await call


async def call_for_a_stream(channel: grpc.aio.Channel) -> None:
    responses = BatchServiceStub(channel).WatchBatch(api.WatchBatchRequest(name="batches/b"))
    async for response in responses:
        assert response.update.revision == 7


Call = Callable[[grpc.aio.Channel], Awaitable[None]]
every_kind = pytest.mark.parametrize("call", [call_unary, call_with_a_stream, call_for_a_stream])


async def refusal(folder: Path, error: Exception, call: Call) -> grpc.aio.AioRpcError:
    async with served(folder, partial(Raising, error)) as channel, asyncio.timeout(10.0):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel)
    return refused.value


@every_kind
async def test_no_exceptions_text_reaches_a_caller_and_the_log_has_it(
    tmp_path: Path, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    error = await refusal(tmp_path, RuntimeError(SECRET), call)

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "hunter2" not in repr(error) + str(error.trailing_metadata())
    assert SECRET in caplog.text


@every_kind
async def test_a_refusal_carries_its_code_its_reason_and_its_sentence(tmp_path: Path, call: Call) -> None:
    error = await refusal(tmp_path, not_found("batches/b"), call)

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.NOT_FOUND, "BATCH_NOT_FOUND")
    assert error.details() == "There is no batch 'batches/b'."
    assert fields_of(error) == {}


@every_kind
async def test_a_bad_request_names_each_field_that_is_wrong(tmp_path: Path, call: Call) -> None:
    error = await refusal(tmp_path, invalid("Two things.", ("name", "is none"), ("view", "is unknown")), call)

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
    assert fields_of(error) == {"name": "is none", "view": "is unknown"}


@every_kind
@pytest.mark.parametrize("away", [RecordsUnavailable(SECRET), BrokerUnavailable(SECRET)])
async def test_a_part_that_is_away_makes_the_call_worth_another_try(
    tmp_path: Path, call: Call, away: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        error = await refusal(tmp_path, away, call)

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "PART_UNAVAILABLE")
    assert "hunter2" not in repr(error) + str(error.trailing_metadata())


async def test_a_method_that_nobody_serves_is_refused_in_the_same_form(tmp_path: Path) -> None:
    async with served(tmp_path, partial(BatchServiceServicer)) as channel, asyncio.timeout(10.0):
        # The stubs want to know what it sends.
        fly: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{NAME}/Fly")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fly(b"")

    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")


@pytest.mark.parametrize("call", [call_unary, call_for_a_stream])
async def test_what_the_store_refuses_passes_through_the_gateway_word_for_word(tmp_path: Path, call: Call) -> None:
    wrong = CallError(grpc.StatusCode.FAILED_PRECONDITION, "STATE_FORBIDS", "Not now ☂.", [("name", "is paused")])
    direct = await refusal(tmp_path, wrong, call)

    relayed = await refused_through_the_gateway(tmp_path, wrong, call)

    assert (relayed.code(), relayed.details()) == (direct.code(), direct.details())
    assert (reason_of(relayed), fields_of(relayed)) == ("STATE_FORBIDS", {"name": "is paused"})


async def test_what_the_store_does_not_say_in_our_words_does_not_pass_the_gateway(tmp_path: Path) -> None:
    class Aborting(BatchServiceServicer):
        async def GetBatch(self, request: api.GetBatchRequest, context: Context) -> api.GetBatchResponse:
            await context.abort(grpc.StatusCode.DATA_LOSS, SECRET)

    relayed = await refused_through_the_gateway(tmp_path, None, call_unary, partial(Aborting))

    assert (relayed.code(), reason_of(relayed)) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "hunter2" not in repr(relayed)


async def refused_through_the_gateway(
    folder: Path, error: Exception | None, call: Call, store: BatchServiceServicer | None = None
) -> grpc.aio.AioRpcError:
    behind = store if store is not None else partial(Raising, error or AssertionError())
    async with served(folder, behind, "store") as inside, asyncio.timeout(10.0):
        relay = Relay(StorageServiceStub(inside), BatchServiceStub(inside), MemoryBroker())
        async with served(folder, relay, "front") as outside:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(outside)
    return refused.value


async def test_a_store_that_is_away_is_said_to_be_away(tmp_path: Path) -> None:
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/nobody.sock") as nowhere:
        relay = Relay(StorageServiceStub(nowhere), BatchServiceStub(nowhere), MemoryBroker())
        async with served(tmp_path, relay) as channel, asyncio.timeout(10.0):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call_unary(channel)

    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.UNAVAILABLE, "PART_UNAVAILABLE")


async def test_cancelling_tells_the_workers(tmp_path: Path) -> None:
    broker = MemoryBroker()
    async with served(tmp_path, partial(Raising, AssertionError()), "store") as inside, asyncio.timeout(10.0):
        relay = Relay(StorageServiceStub(inside), BatchServiceStub(inside), broker)
        async with served(tmp_path, relay, "front") as outside, broker.listen() as heard:
            await BatchServiceStub(outside).CancelBatch(api.CancelBatchRequest(name="batches/b"))

            assert await anext(heard) == b"b"


async def test_a_batch_is_cancelled_though_the_broker_is_away_and_no_worker_can_be_told(tmp_path: Path) -> None:
    class Away(MemoryBroker):
        async def broadcast(self, body: bytes) -> None:
            raise BrokerUnavailable("the broker is away")

    async with served(tmp_path, partial(Raising, AssertionError()), "store") as inside, asyncio.timeout(10.0):
        relay = Relay(StorageServiceStub(inside), BatchServiceStub(inside), Away())
        async with served(tmp_path, relay, "front") as outside:
            # Their results are refused by the store anyway.
            await BatchServiceStub(outside).CancelBatch(api.CancelBatchRequest(name="batches/b"))


@pytest.mark.parametrize("service", ["", NAME])
async def test_health_says_that_a_service_serves_when_asked_and_when_watched(tmp_path: Path, service: str) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    async with served(tmp_path, partial(BatchServiceServicer)) as channel, asyncio.timeout(10.0):
        health = health_pb2_grpc.HealthStub(channel)

        assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(request)
        assert (await anext(aiter(watch))).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def test_health_of_a_service_that_is_not_here_is_not_found(tmp_path: Path) -> None:
    async with served(tmp_path, partial(BatchServiceServicer)) as channel, asyncio.timeout(10.0):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="nobody"))

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_message_too_large_for_a_server_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path, partial(BatchServiceServicer)) as channel, asyncio.timeout(10.0):
        big = api.CreateBatchRequest(items=[api.ItemSource(uri="x" * (9 << 20))])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await BatchServiceStub(channel).CreateBatch(big)

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
