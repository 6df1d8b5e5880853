"""The address guard: two gates on the way from a name to a socket.

Both are needed. The resolver's gate sees every address of a name, so a name with one closed address is refused
whole; but addresses written out never pass it. The socket's gate sees what is really dialled, written-out
addresses and cached answers included; but it sees one address at a time, without the name.

The refusals are `PermanentError`s and not `OSError`s on purpose: aiohttp wraps the latter, tries the next
address after them, and merges several into one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult

from imagemill.domain.failures import FailureCode, PermanentError
from imagemill.http.addresses import refusal
from imagemill.http.settings import Network

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType


def refuse_spelling(host: str, allowed: Sequence[Network]) -> None:
    """Refuse a `host` that spells an IPv4 address otherwise than as four decimal numbers.

    `socket` reads 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1; nobody's picture needs that.

    Raises `PermanentError` ADDRESS_DENIED when the address is closed, else SOURCE_INVALID.
    """
    name = host.rstrip(".")
    if not name.rpartition(".")[2][:1].isdigit():
        return
    try:
        address = socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        return
    if address == host:
        return
    if found := refusal(address, allowed):
        raise PermanentError(FailureCode.ADDRESS_DENIED, found.sentence(host))
    raise PermanentError(
        FailureCode.SOURCE_INVALID, f"'{host}' is an unusual spelling of an address; write it as {address}."
    )


class GuardedResolver(AbstractResolver):
    """Looks names up and answers only when every address of the name may be dialled."""

    def __init__(self, allowed: Sequence[Network], timeout_s: float) -> None:
        self._allowed = tuple(allowed)
        self._timeout_s = timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`.

        Raises `OSError` when there is no answer, `PermanentError` ADDRESS_DENIED when one address is closed.
        """
        addresses = await self._look_up(host, port, family)
        for address in addresses:
            if found := refusal(address, self._allowed):
                raise PermanentError(FailureCode.ADDRESS_DENIED, found.sentence(host))
        return [_result(host, address, port) for address in addresses]

    async def close(self) -> None:
        """Hold nothing, so release nothing."""

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                rows = await loop.getaddrinfo(
                    host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                )
        except TimeoutError as error:
            # With an errno: aiohttp takes a bare timeout for its own connect timeout.
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time") from error
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, "the name can't be encoded") from error
        return list(dict.fromkeys(str(row[4][0]) for row in rows))


class SocketGate:
    """Makes the sockets that aiohttp dials with, for addresses that may be dialled."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)

    def __call__(self, info: AddrInfoType) -> socket.socket:
        """Return an unconnected socket for `info`.

        Raises `PermanentError` ADDRESS_DENIED when its address is closed.
        """
        family, kind, protocol, _, address = info
        if found := refusal(str(address[0]), self._allowed):
            raise PermanentError(FailureCode.ADDRESS_DENIED, found.sentence())
        return socket.socket(family=family, type=kind, proto=protocol)


def _result(host: str, address: str, port: int) -> ResolveResult:
    version = ipaddress.ip_address(address).version
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if version == 6 else socket.AF_INET,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
