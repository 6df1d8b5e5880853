"""A process reports SERVING while it has all that it needs, and says which part is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagemill.ports.unavailable import PartUnavailable
from imagemill.runtime import health
from imagemill.runtime.health import Parts, service_answers
from imagemill.runtime.serving import ALIVE, dial, serve_grpc
from tests.support.eventually import eventually

NAME = "imagemill.v1.StorageService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Part:
    """A part that is there, away, or hangs."""

    def __init__(self, trouble: str = "") -> None:
        self.trouble = trouble
        self.hangs = False

    async def check(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.trouble:
            raise PartUnavailable(self.trouble)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_S", 0.01)
    monkeypatch.setattr(health, "ANSWER_S", 0.1)


@asynccontextmanager
async def serving(folder: Path, parts: Parts) -> AsyncIterator[grpc.aio.Channel]:
    target = f"unix:{folder}/served.sock"
    async with serve_grpc(target, (NAME,), lambda server: None, parts=parts), dial(target) as channel:
        yield channel


async def until(channel: grpc.aio.Channel, status: object, service: str = NAME) -> None:
    stub = health_pb2_grpc.HealthStub(channel)

    async def reports() -> bool:
        return bool((await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == status)

    await eventually(reports)


async def test_a_process_serves_while_every_part_is_there_and_recovers_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker, store = Part("it refuses the password"), Part()
    parts = Parts()
    parts.need("the broker", broker.check)
    parts.need("the database", store.check)
    async with serving(tmp_path, parts) as channel:
        await until(channel, NOT_SERVING)
        broker.trouble = ""
        await until(channel, SERVING)
        await until(channel, SERVING, service="")
        store.trouble = "its disk is full"
        await until(channel, NOT_SERVING)

    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("NOT_SERVING: the broker is away: it refuses the password.") == 1
    assert messages.count("NOT_SERVING: the database is away: its disk is full.") == 1


async def test_a_part_that_hangs_is_away(tmp_path: Path) -> None:
    part = Part()
    parts = Parts()
    parts.need("the broker", part.check)
    async with serving(tmp_path, parts) as channel:
        await until(channel, SERVING)
        part.hangs = True
        await until(channel, NOT_SERVING)


async def test_a_fault_of_ours_does_not_pass_for_a_part_that_is_there(tmp_path: Path) -> None:
    async def check() -> None:
        raise ZeroDivisionError

    parts = Parts()
    parts.need("the broker", check)
    async with serving(tmp_path, parts) as channel:
        await until(channel, NOT_SERVING)


async def test_a_part_that_cannot_be_opened_is_waited_for(tmp_path: Path) -> None:
    parts = Parts()
    troubles: list[Exception] = [PermissionError(13, "Permission denied", "/srv"), PartUnavailable("not yet")]

    def open_part() -> Part:
        if troubles:
            raise troubles.pop()
        return Part()

    async with serving(tmp_path, parts) as channel:
        part = await parts.opened("the blob store", open_part, asyncio.Event())
        await until(channel, SERVING)

    assert isinstance(part, Part)


async def test_a_part_that_is_still_being_opened_is_not_there(tmp_path: Path) -> None:
    parts = Parts()
    told: list[bool] = []
    lets_go = asyncio.Event()

    async def open_part() -> Part:
        await lets_go.wait()
        return Part()

    async def tell(whole: bool) -> None:
        told.append(whole)

    parts.need("the broker", Part().check)
    opening = asyncio.create_task(parts.opened("the database", open_part, asyncio.Event()))
    watching = asyncio.create_task(parts.watch(tell))
    await eventually(lambda: len(told) >= 3)
    assert not any(told), "the broker alone is not all that it needs"

    lets_go.set()
    await eventually(lambda: told[-1])
    assert isinstance(await opening, Part)
    watching.cancel()


async def test_waiting_for_a_part_ends_with_the_process() -> None:
    stop = asyncio.Event()

    def open_part() -> Part:
        stop.set()
        raise PartUnavailable("never")

    assert await Parts().opened("the blob store", open_part, stop) is None


async def test_another_service_is_there_when_it_has_its_own_parts(tmp_path: Path) -> None:
    part = Part("away")
    parts = Parts()
    parts.need("the database", part.check)
    async with serving(tmp_path, parts) as channel:
        check = service_answers(channel, "here", NAME)
        with pytest.raises(PartUnavailable, match="lacks a part itself"):
            await check()
        part.trouble = ""
        await until(channel, SERVING)
        await check()
        with pytest.raises(PartUnavailable, match="another service"):
            await service_answers(channel, "here", "imagemill.v1.BatchService")()


async def test_a_service_that_does_not_answer_is_named_by_its_address(tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/nobody.sock"
    async with dial(target) as channel:
        with pytest.raises(PartUnavailable, match=r"nobody\.sock"):
            await service_answers(channel, target, NAME)()


async def test_a_process_does_not_serve_before_its_needs_are_known_and_looked_at() -> None:
    parts, told = Parts(), list[bool]()

    async def tell(serving: bool) -> None:
        told.append(serving)
        if len(told) == 1:
            parts.need("the broker", Part().check)

    watching = asyncio.create_task(parts.watch(tell))
    await eventually(lambda: len(told) >= 2)
    watching.cancel()

    assert told[:2] == [False, True]


async def test_a_process_that_lacks_a_part_is_alive(tmp_path: Path) -> None:
    async with serving(tmp_path, Parts()) as channel:
        await until(channel, NOT_SERVING)
        await until(channel, SERVING, ALIVE)
