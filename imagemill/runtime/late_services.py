"""Services of a server that answers before they can be made, because what they need is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

import grpc
from google.protobuf import descriptor_pool

from imagemill.ports.unavailable import PartUnavailable


class LateServices(grpc.GenericRpcHandler):
    """Stands in for services, by their full names, that are registered when their server runs already.

    Until then each of their calls is refused with `PART_UNAVAILABLE`, which says to come again; without a stand-in it
    would be told that there is no such call.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._prefixes = tuple(f"/{name}/" for name in names)
        self._handlers: list[grpc.GenericRpcHandler] = []

    def stand_in(self, server: grpc.aio.Server) -> None:
        """Answer the calls of these services on a server that is not started yet."""
        server.add_generic_rpc_handlers((self,))

    def come(self, register: Callable[[grpc.aio.Server], None]) -> None:
        """Let what `register` adds answer from now on."""
        register(cast(grpc.aio.Server, self))

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Take what generated code adds to a server."""
        self._handlers.extend(handlers)

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Leave what generated code adds for a quicker look-up: only a server has that."""

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Find who answers a call."""
        if not call.method.startswith(self._prefixes):
            return None
        if not self._handlers:
            return grpc.unary_unary_rpc_method_handler(_not_yet) if _is_known(call.method) else None
        return next((found for each in self._handlers if (found := each.service(call)) is not None), None)


def _is_known(method: str) -> bool:
    try:
        descriptor_pool.Default().FindMethodByName(method.strip("/").replace("/", "."))
    except KeyError:
        return False
    return True


async def _not_yet(request: object, context: object) -> NoReturn:
    raise PartUnavailable("it has only started, and lacks a part still")
