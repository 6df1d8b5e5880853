"""The fence that the tests of the guard rely on: no way out is left open, and every attempt is on record."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import Callable
from urllib.error import URLError

import pytest

from tests.support.fence import Fence

# Reserved for documentation (RFC 5737): nobody has it, so even a fence that failed would reach nobody.
NOBODY = "192.0.2.1"
NOBODY_V6 = "2001:db8::1"


def _connect(sock: socket.socket) -> None:
    sock.connect((NOBODY, 9))


def _connect_ex(sock: socket.socket) -> None:
    sock.connect_ex((NOBODY, 9))


def _sendto(sock: socket.socket) -> None:
    sock.sendto(b"", (NOBODY, 9))


def _sendto_with_flags(sock: socket.socket) -> None:
    sock.sendto(b"", 0, (NOBODY, 9))


def _sendmsg(sock: socket.socket) -> None:
    sock.sendmsg([b""], [], 0, (NOBODY, 9))


@pytest.mark.parametrize("dial", [_connect, _connect_ex, _sendto, _sendto_with_flags, _sendmsg])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_no_method_of_a_socket_leads_outside(
    fence: Fence, dial: Callable[[socket.socket], None], kind: socket.SocketKind
) -> None:
    with socket.socket(type=kind) as sock, pytest.raises(OSError, match="fence"):
        dial(sock)

    assert fence.refused == [NOBODY]
    assert fence.dialled == [(NOBODY, 9)]


@pytest.mark.parametrize("address", [NOBODY, NOBODY_V6, "::ffff:192.0.2.1", "0.0.0.0", "::", "fe80::1"])
async def test_no_connection_of_an_event_loop_leads_outside(fence: Fence, address: str) -> None:
    with pytest.raises(OSError, match="fence"):
        await asyncio.open_connection(address, 9)

    assert fence.refused == [address]


async def test_no_socket_or_datagram_of_an_event_loop_leads_outside(fence: Fence) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(OSError, match="fence"):
            await loop.sock_connect(sock, (NOBODY, 9))
    with pytest.raises(OSError, match="fence"):
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(NOBODY, 9))

    assert fence.refused == [NOBODY] * 2


def test_no_library_above_sockets_leads_outside(fence: Fence) -> None:
    with pytest.raises(OSError, match="fence"):
        socket.create_connection((NOBODY, 9))
    with pytest.raises(URLError, match="fence"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{NOBODY}:9/")

    assert fence.refused == [NOBODY] * 2


def test_no_name_is_asked_of_a_name_server(fence: Fence) -> None:
    fence.names["scripted.test"] = [[NOBODY]]
    for look_up in (socket.gethostbyname, socket.gethostbyname_ex, socket.gethostbyaddr):
        for name in ("unscripted.test", "scripted.test", NOBODY):
            with pytest.raises(socket.gaierror, match="fence"):
                look_up(name)
    with pytest.raises(socket.gaierror, match="fence"):
        socket.getaddrinfo("unscripted.test", 80)

    assert [row[4] for row in socket.getaddrinfo("scripted.test", 80)] == [(NOBODY, 80)]
    assert len(fence.lookups) == 11
    assert fence.dialled == []


async def test_this_machine_is_reached_and_on_record(fence: Fence) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()

    assert fence.dialled == [("127.0.0.1", port)]
    assert fence.refused == []
