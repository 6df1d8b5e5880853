"""What all tests share: whichever of them lets this process dial or look up anything but this machine fails.

This is the last line of defence, below Python's own socket functions; `tests/support/fence.py` is the tool of tests
that mean to provoke a dial.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # few tests need a server, and the libraries for one take a while to load
    from tests.support.object_store import ObjectServer
    from tests.support.postgres_node import PostgresNode
    from tests.support.rabbitmq_node import RabbitNode

_strays: list[str] = []


def pytest_configure() -> None:
    # An audit hook sees every call of the process, whoever makes it, and can't be patched away.
    sys.addaudithook(_refuse_strangers)


@pytest.fixture(autouse=True)
def _nothing_leaves_this_machine() -> Iterator[None]:
    _strays.clear()
    yield
    assert _strays == [], f"the test reached for {_strays}"


@pytest.fixture(scope="session")
def rabbitmq_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """A node for all tests of a run; one that harms it mends it."""
    from tests.support.rabbitmq_node import RabbitNode

    node = RabbitNode(tmp_path_factory.mktemp("rabbitmq"))
    yield node
    node.destroy()


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """An object store for all tests of a run, each of which has a place of its own in it."""
    from tests.support.object_store import ObjectServer

    server = ObjectServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def rabbitmq_server(request: pytest.FixtureRequest) -> str:
    """The URL of a broker: the one that is given, or a node of this run's own."""
    from tests.support.rabbitmq_node import URL_VARIABLE

    return os.environ.get(URL_VARIABLE) or str(request.getfixturevalue("rabbitmq_node").url)


@pytest.fixture(scope="session")
def postgres_node() -> Iterator[PostgresNode]:
    """A server for all tests of a run; one that harms it mends it."""
    from tests.support.postgres_node import PostgresNode

    node = PostgresNode()
    yield node
    node.destroy()


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> str:
    """The URL of a database: the one that is given, or one of this run's own server."""
    from tests.support.postgres_node import URL_VARIABLE

    return os.environ.get(URL_VARIABLE) or str(request.getfixturevalue("postgres_node").url())


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
