"""A gRPC server with what every service of the mill has: limits, health, and exceptions kept in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from imagemill.runtime.calls import KeepExceptionsIn

LARGEST_MESSAGE = 8 << 20
"""The largest message that a server takes, in bytes; larger uploads stream in chunks."""

_OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.so_reuseport", 0),
)

HANG_UP_S = 0.5
"""How long running calls are given when a server stops, in seconds."""


@asynccontextmanager
async def serve_grpc(
    listen: str, names: tuple[str, ...], register: Callable[[grpc.aio.Server], None]
) -> AsyncIterator[int]:
    """Serve on `listen` until the context ends; yields the port (0 for a unix socket).

    `names` are the fully qualified services that report SERVING on the health service. Raises `OSError` when the
    address can't be listened on.
    """
    server = grpc.aio.server(interceptors=(KeepExceptionsIn(),), options=_OPTIONS)
    register(server)
    state = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"{listen} can't be listened on") from error
    await server.start()
    for name in ("", *names):
        await state.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield port
    finally:
        await state.enter_graceful_shutdown()
        await server.stop(HANG_UP_S)


def dial(target: str) -> grpc.aio.Channel:
    """A channel to a service of the mill."""
    return grpc.aio.insecure_channel(target, options=_OPTIONS)
