"""A fence below the code under test: nothing but loopback is dialled, whatever the code above thinks of it.

A guard that fails, or is switched off as a control, runs into the fence, which refuses and keeps a record.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from unittest import mock

_INTERNET = (socket.AF_INET, socket.AF_INET6)


@dataclass(slots=True)
class Fence:
    """What ran into the fence."""

    refused: list[str] = field(default_factory=list)
    """Addresses that would have been dialled, in order."""
    lookups: list[str] = field(default_factory=list)
    """Names that were, or would have been, asked of a name server, in order."""
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    """What name servers answer: for each name the addresses of the first lookup, the second …; the last stays."""

    def check(self, family: int, address: Any) -> None:
        """Raise `OSError` unless `address` is on this machine."""
        if family in _INTERNET and not _is_loopback(str(address[0])):
            self.refused.append(str(address[0]))
            raise OSError(errno.ENETUNREACH, "the fence lets nothing but loopback pass")

    def answer(self, host: object) -> list[str] | None:
        """Return the scripted addresses of `host`, or None if it can be looked up without a name server.

        Raises `gaierror` for every other name.
        """
        name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
        if name == "localhost" or _is_numeric(name):
            return None
        self.lookups.append(name)
        answers = self.names.get(name)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "the fence asks no name server")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def fenced() -> Iterator[Fence]:
    """Refuse every address but loopback, and every name lookup that would leave the machine, within the block."""
    fence = Fence()
    with (
        mock.patch.object(socket.socket, "connect", _guarding(fence, socket.socket.connect)),
        mock.patch.object(socket.socket, "connect_ex", _guarding(fence, socket.socket.connect_ex)),
        mock.patch.object(socket.socket, "sendto", _guarding(fence, socket.socket.sendto)),
        mock.patch.object(socket, "getaddrinfo", _guarding_names(fence, socket.getaddrinfo)),
        mock.patch.object(BaseSelectorEventLoop, "sock_connect", _guarding_loop(fence)),
    ):
        yield fence


def _guarding(fence: Fence, real: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(sock: socket.socket, *arguments: Any) -> Any:
        # The address is the last argument of each of the three.
        fence.check(sock.family, arguments[-1])
        return real(sock, *arguments)

    return guarded


def _guarding_loop(fence: Fence) -> Callable[..., Any]:
    real = BaseSelectorEventLoop.sock_connect

    async def guarded(loop: asyncio.AbstractEventLoop, sock: socket.socket, address: Any) -> None:
        fence.check(sock.family, address)
        await real(loop, sock, address)  # type: ignore[arg-type]  # it is the loop that the method is called on

    return guarded


def _guarding_names(fence: Fence, real: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: object, port: Any, *arguments: Any, **options: Any) -> Any:
        addresses = fence.answer(host)
        if addresses is None:
            return real(host, port, *arguments, **options)
        return [row for address in addresses for row in real(address, port, type=socket.SOCK_STREAM)]

    return guarded


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address == "localhost"
    # 0.0.0.0 and :: are this machine too, yet no test means to dial them.
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def _is_numeric(name: str) -> bool:
    try:
        socket.inet_aton(name)
    except OSError:
        return ":" in name
    return True
