"""Servers say what they serve only where they are told to; whoever asks one that has fallen silent is told so."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from imagemill.runtime import serving
from imagemill.runtime.serving import dial, serve_grpc
from tests.support.processes import Program
from tests.unit.runtime.serving import NAME


async def listed(folder: Path, *, reflection: bool) -> list[str]:
    """The services that a server lists."""
    target = f"unix:{folder / 'served.sock'}"
    async with serve_grpc(target, (NAME,), lambda server: None, reflection=reflection), dial(target) as channel:
        call = ServerReflectionStub(channel).ServerReflectionInfo(iter([ServerReflectionRequest(list_services="")]))
        return [service.name async for answer in call for service in answer.list_services_response.service]


async def test_a_server_that_reflects_lists_its_services(tmp_path: Path) -> None:
    reflection = "grpc.reflection.v1alpha.ServerReflection"

    assert await listed(tmp_path, reflection=True) == ["grpc.health.v1.Health", reflection, NAME]


async def test_a_server_that_does_not_reflect_says_that_there_is_no_such_call(tmp_path: Path) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(tmp_path, reflection=False)

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


_SERVER = """
import asyncio, sys
from imagemill.runtime.serving import serve_grpc

async def main():
    async with serve_grpc(sys.argv[1], ("name",), lambda server: None):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_call_to_a_service_that_has_vanished_without_a_word_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "ALIVE_EACH_S", 1.0)
    monkeypatch.setattr(serving, "ALIVE_ANSWER_S", 2.0)
    target = f"unix:{tmp_path / 'silent.sock'}"
    program = Program([sys.executable, "-c", _SERVER, target], tmp_path)
    try:
        program.wait_until(lambda: "up" in program.out)
        async with dial(target) as channel:
            health = HealthStub(channel)
            await health.Check(HealthCheckRequest())

            program.send(signal.SIGSTOP)
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                async with asyncio.timeout(30.0):
                    await health.Check(HealthCheckRequest())
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        program.destroy()
