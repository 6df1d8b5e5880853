"""Servers say what they serve only where they are told to."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from imagemill.runtime.serving import dial, serve_grpc
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
