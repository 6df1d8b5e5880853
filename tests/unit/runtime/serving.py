"""Services behind a real socket, with all that every service of the mill has around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status  # type: ignore[import-untyped]  # ships without types

from imagemill.runtime.serving import dial, serve_grpc
from imagemill.v1.batch_service_pb2_grpc import BatchServiceServicer, add_BatchServiceServicer_to_server

NAME = "imagemill.v1.BatchService"


def partial(kind: type[Any], *arguments: object) -> BatchServiceServicer:
    """A service that has some of the methods: the others refuse, though the stubs call them abstract."""
    servicer: BatchServiceServicer = kind(*arguments)
    return servicer


@asynccontextmanager
async def served(
    folder: Path, servicer: BatchServiceServicer, socket: str = "served"
) -> AsyncIterator[grpc.aio.Channel]:
    """Serve and dial."""
    target = f"unix:{folder / socket}.sock"

    def register(server: grpc.aio.Server) -> None:
        add_BatchServiceServicer_to_server(servicer, server)

    async with serve_grpc(target, (NAME,), register), dial(target) as channel:
        yield channel


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The stable reason in an error's details."""
    return _details(error)[0]


def fields_of(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """The fields that a bad request names, and what is wrong with each."""
    return _details(error)[1]


def _details(error: grpc.aio.AioRpcError) -> tuple[str, dict[str, str]]:
    status = rpc_status.from_call(error)
    assert status is not None, f"no details came with {error.code()}"
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        assert detail.Unpack(info) or detail.Unpack(bad)
    assert info.domain == "imagemill"
    return info.reason, {each.field: each.description for each in bad.field_violations}
