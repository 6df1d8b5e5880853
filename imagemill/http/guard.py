"""The address guard: two gates on the way from a name to a socket.

Both are needed. The resolver's gate sees every address of a name, so a name with one closed address is refused
whole; but addresses written out never pass it. The socket's gate sees what is really dialled, written-out
addresses and cached answers included; but it sees one address at a time, without the name.

The refusals are `PermanentError`s and not `OSError`s on purpose: aiohttp wraps the latter and merges several into
one. What is allowed is fixed when the gates are made, so a remembered answer and a connection that was kept open
have passed the same judgement as new ones would.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult

from imagemill.domain.failures import FailureCode, PermanentError
from imagemill.http.addresses import Address, Refusal, plain, refusal
from imagemill.http.names import Lookups
from imagemill.http.settings import Network

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType

_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
_NOBODYS: dict[int, Address] = {4: plain("192.0.2.1"), 6: plain("2001:db8::1")}
"""Addresses that no machine has: they are kept for documentation."""


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
    _refuse(address, allowed, host)
    raise PermanentError(
        FailureCode.SOURCE_INVALID, f"'{host}' is an unusual spelling of an address; write it as {address}."
    )


class GuardedResolver(AbstractResolver):
    """Looks names up and answers only when every address of the name may be dialled."""

    def __init__(self, allowed: Sequence[Network], timeout_s: float) -> None:
        self._allowed = tuple(allowed)
        self._timeout_s = timeout_s
        self._lookups = Lookups()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`.

        Raises `OSError` when there is no answer, `PermanentError` ADDRESS_DENIED when one address is closed.
        """
        addresses = await self._look_up(host, port, family)
        for address in addresses:
            _refuse(address, self._allowed, host)
        return [_result(host, address, port) for address in addresses]

    async def close(self) -> None:
        """Hold nothing, so release nothing."""

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[str]:
        rows = await self._lookups.rows(host, port, family, self._timeout_s)
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
        _refuse(str(address[0]), self._allowed, str(address[0]))
        return socket.socket(family=family, type=kind, proto=protocol)


def is_own(address: Address) -> bool:
    """Say whether `address` is one of this machine's: a socket can be bound to it, and so not to any.

    Connections to it never meet the firewall in front of the machine, however public the address is.

    Raises `OSError` when there are no files left to find out with.
    """
    return _can_be_bound(address) and not _can_be_bound(_NOBODYS[address.version])


def _can_be_bound(address: Address) -> bool:
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError as error:
        if error.errno in _OUT_OF_FILES:
            raise
        return False
    return True


def _refuse(address: str, allowed: Sequence[Network], host: str) -> None:
    """Raise `PermanentError` ADDRESS_DENIED if `address`, to which `host` has led, may not be dialled."""
    found = refusal(address, allowed) or _own(plain(address), allowed)
    if found:
        raise PermanentError(FailureCode.ADDRESS_DENIED, found.sentence(host))


def _own(address: Address, allowed: Sequence[Network]) -> Refusal | None:
    found = Refusal(address, "an address of this very machine", ip_network(address))
    return None if found.lifted_by(allowed) or not is_own(address) else found


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if address.version == 6 else socket.AF_INET


def _result(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
