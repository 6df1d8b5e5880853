"""What all tests share: whichever of them lets this process dial or look up anything but this machine fails.

This is the last line of defence, below Python's own socket functions; `tests/support/fence.py` is the tool of tests
that mean to provoke a dial.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator

import pytest

_strays: list[str] = []


def pytest_configure() -> None:
    # An audit hook sees every call of the process, whoever makes it, and can't be patched away.
    sys.addaudithook(_refuse_strangers)


@pytest.fixture(autouse=True)
def _nothing_leaves_this_machine() -> Iterator[None]:
    _strays.clear()
    yield
    assert _strays == [], f"the test reached for {_strays}"


def _refuse_strangers(event: str, arguments: tuple[object, ...]) -> None:
    match event, arguments:
        # Paths of unix sockets are no tuples.
        case (("socket.connect" | "socket.sendto" | "socket.sendmsg"), (_, (host, _, *_))):
            stranger = not _is_here(str(host))
        case "socket.getaddrinfo", (host, *_):
            stranger = not _needs_no_name_server(host)
        case (("socket.gethostbyname" | "socket.gethostbyname_ex"), (host, *_)):
            stranger = not _needs_no_name_server(host)
        case _:
            return
    if stranger:
        _strays.append(f"{event} {host}")
        raise ConnectionRefusedError(f"tests stay on this machine; {host} is not on it")


def _needs_no_name_server(host: object) -> bool:
    text = host.decode() if isinstance(host, bytes) else str(host or "")
    return text in {"", "localhost"} or _parsed(text) is not None


def _is_here(host: str) -> bool:
    address = _parsed(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return host in {"", "localhost"} or (address is not None and (mapped or address).is_loopback)


def _parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
