"""A fence below the code under test: nothing but loopback is dialled, whatever the code above thinks of it.

A guard that fails, or is switched off as a control, runs into the fence, which refuses and keeps a record. What is
let through to loopback is on record as well.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from unittest import mock

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_SENDMSG_ADDRESS = 3
"""The address's place among the arguments of `socket.sendmsg`, after buffers, ancillary data and flags."""


@dataclass(slots=True)
class Fence:
    """What ran into the fence."""

    dialled: list[tuple[str, int]] = field(default_factory=list)
    """Addresses and ports of all attempts, in order, whether they were refused or let through."""
    refused: list[str] = field(default_factory=list)
    """Addresses that would have been dialled, in order."""
    lookups: list[str] = field(default_factory=list)
    """Names that were, or would have been, asked of a name server, in order."""
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    """What name servers answer: for each name the addresses of the first lookup, the second …; the last stays."""

    def check(self, family: int, address: Any) -> None:
        """Raise `OSError` unless `address` is on this machine."""
        if family not in _INTERNET:
            return
        host, port = str(address[0]), int(address[1])
        self.dialled.append((host, port))
        if not _is_loopback(host):
            self.refused.append(host)
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
    with ExitStack() as patches:
        for method in ("connect", "connect_ex", "sendto"):
            real = getattr(socket.socket, method)
            # The address is the last argument of each of the three.
            patches.enter_context(mock.patch.object(socket.socket, method, _guarding(fence, real, -1)))
        real = socket.socket.sendmsg
        patches.enter_context(mock.patch.object(socket.socket, "sendmsg", _guarding(fence, real, _SENDMSG_ADDRESS)))
        patches.enter_context(mock.patch.object(socket, "getaddrinfo", _guarding_names(fence, socket.getaddrinfo)))
        for function in ("gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
            patches.enter_context(
                mock.patch.object(socket, function, _refusing_names(fence, getattr(socket, function)))
            )
        yield fence


def _guarding(fence: Fence, real: Callable[..., Any], position: int) -> Callable[..., Any]:
    def guarded(sock: socket.socket, *arguments: Any) -> Any:
        # Only `sendmsg` can be without an address: on a socket that was connected, and judged, before.
        if position < len(arguments) and arguments[position] is not None:
            fence.check(sock.family, arguments[position])
        return real(sock, *arguments)

    return guarded


def _refusing_names(fence: Fence, real: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: str) -> Any:
        if _is_loopback(host):
            return real(host)
        # Also of an address: to find the name of one, a name server is asked as well.
        fence.lookups.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "the fence answers getaddrinfo only")

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
