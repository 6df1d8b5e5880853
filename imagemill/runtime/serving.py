"""A gRPC server with what every service of the mill has: limits, health, settings, and exceptions kept in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from imagemill.runtime.calls import KeepExceptionsIn
from imagemill.runtime.health import Parts
from imagemill.runtime.late_services import LateServices
from imagemill.v1.settings_service_pb2_grpc import SettingsServiceServicer, add_SettingsServiceServicer_to_server

LARGEST_MESSAGE = 8 << 20
"""The largest message that a server takes, in bytes; larger uploads stream in chunks."""

_OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.so_reuseport", 0),
    # Less than callers ask: a server takes more questions than it expects for an attack, and hangs up.
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
)

CONNECTION_AGE_S = 300
"""How long a server takes new calls on a connection, in seconds; whoever has more then looks the name up anew, and so
finds replicas that were added. Calls under way go on on the old one."""

_RECONNECTING = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
)
"""gRPC's own pauses grow to two minutes, and a service that moves is looked up once in half a minute."""

ALIVE_EACH_S, ALIVE_ANSWER_S = 10.0, 10.0
"""After how long without a word from a service whose answer is awaited it is asked whether it is there, and how long it
has to say so, in seconds. A host that vanishes says no good-bye: the kernel would wait a quarter of an hour for it."""

_ALL_ADDRESSES = (("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),)
"""Calls take turns among all addresses of a name; by default one address gets them all."""

_NO_PROXY = (("grpc.enable_http_proxy", 0),)
"""Services speak to each other; a proxy in the environment, put there for downloads of packages, is none of theirs."""

ALIVE = "imagemill.alive"
"""What the health service says of the process itself: it serves as long as it can answer, whatever part is away."""

HANG_UP_S = 0.5
"""How long running calls are given when a server stops, in seconds."""


SETTINGS = "imagemill.v1.SettingsService"

Register = Callable[[grpc.aio.Server], None]
"""Adds services to a server."""


class AddressTaken(OSError):
    """An address can't be listened on."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What a server has beside its own services."""

    parts: Parts | None = None
    """What it must have to report SERVING; without, it always does."""
    settings: SettingsServiceServicer | None = None
    """What tells and changes the settings of its process."""
    reflection: bool = False
    """Whether generic clients can ask for the descriptions of its services."""

    def open(
        self, listen: str, names: tuple[str, ...] = (), register: Register = lambda server: None
    ) -> AbstractAsyncContextManager[int]:
        """Serve as `serve_grpc` does."""
        settings = self.settings
        if settings is None:
            return serve_grpc(listen, names, register, reflection=self.reflection, parts=self.parts)

        def register_all(server: grpc.aio.Server) -> None:
            register(server)
            add_SettingsServiceServicer_to_server(settings, server)

        return serve_grpc(listen, (*names, SETTINGS), register_all, reflection=self.reflection, parts=self.parts)

    @asynccontextmanager
    async def begun(self, listen: str, names: tuple[str, ...]) -> AsyncIterator[Serving]:
        """Serve already, while the parts that the services `names` need are being opened.

        To open what it gives registers them; closing that stops the server. Raises `AddressTaken`.
        """
        late = LateServices(names)
        async with AsyncExitStack() as server:
            port = await server.enter_async_context(self.open(listen, names, late.stand_in))
            yield _Begun(late=late, port=port, server=server)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun(Serving):
    """A server that runs already, wherever it listens."""

    late: LateServices
    port: int
    server: AsyncExitStack

    @asynccontextmanager
    async def open(
        self, listen: str, names: tuple[str, ...] = (), register: Register = lambda server: None
    ) -> AsyncIterator[int]:
        self.late.come(register)
        async with self.server:
            yield self.port


@asynccontextmanager
async def serve_grpc(
    listen: str, names: tuple[str, ...], register: Register, *, reflection: bool = False, parts: Parts | None = None
) -> AsyncIterator[int]:
    """Serve on `listen` until the context ends; yields the port (0 for a unix socket).

    `names` are the fully qualified services that report SERVING on the health service, while all `parts` are there;
    `ALIVE` always does. With `reflection`, generic clients can ask the server for their descriptions. Raises
    `AddressTaken`.
    """
    age = ("grpc.max_connection_age_ms", int(CONNECTION_AGE_S * 1000))
    server = grpc.aio.server(interceptors=(KeepExceptionsIn(),), options=(*_OPTIONS, age))
    register(server)
    state = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    if reflection:
        _describe(server, (*names, health.SERVICE_NAME))
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise AddressTaken(f"{listen} can't be listened on") from error

    async def report(serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *names):
            await state.set(name, status)

    await state.set(ALIVE, health_pb2.HealthCheckResponse.SERVING)
    await report(parts is None)
    await server.start()
    watching = asyncio.create_task(parts.watch(report), name="health") if parts is not None else None
    try:
        yield port
    finally:
        if watching is not None:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        await state.enter_graceful_shutdown()
        await server.stop(HANG_UP_S)


def _describe(server: grpc.aio.Server, names: tuple[str, ...]) -> None:
    # Only who reflects pays for the import.
    from grpc_reflection.v1alpha import reflection

    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)


def dial(target: str) -> grpc.aio.Channel:
    """A channel to a service of the mill; one that was away for long is found within a second or two of its return.

    One that has vanished without a word ends the calls that wait for it after 20 s.

    Where the name in `target` has several addresses, calls take turns among those that answer.
    """
    watched = (
        ("grpc.keepalive_time_ms", int(ALIVE_EACH_S * 1000)),
        ("grpc.keepalive_timeout_ms", int(ALIVE_ANSWER_S * 1000)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.ping_timeout_ms", int(ALIVE_ANSWER_S * 1000)),
    )
    options = (*_OPTIONS, *_RECONNECTING, *_ALL_ADDRESSES, *_NO_PROXY, *watched)
    return grpc.aio.insecure_channel(target, options=options)
