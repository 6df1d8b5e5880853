"""The tests themselves can't leave this machine; `tests/conftest.py` sees to it, and this is the proof."""

from __future__ import annotations

import socket

import pytest

from tests import conftest
from tests.support.fence import fenced

# Reserved for documentation (RFC 5737): nobody has it, so even a hook that failed would reach nobody.
_NOBODY = "192.0.2.1"


def taken_back() -> list[str]:
    """Return what the test reached for, which would fail it in the end if it stayed on record."""
    strays = list(conftest._strays)
    conftest._strays.clear()
    return strays


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_a_dial_outside_is_refused_and_remembered(method: str) -> None:
    with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
        getattr(sock, method)((_NOBODY, 9))

    assert taken_back() == [f"socket.connect {_NOBODY}"]


def test_a_datagram_outside_is_refused_and_remembered() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(ConnectionRefusedError):
        sock.sendto(b"", (_NOBODY, 9))

    assert taken_back() == [f"socket.sendto {_NOBODY}"]


def test_a_name_is_not_looked_up() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.getaddrinfo("pictures.invalid", 80)

    assert taken_back() == ["socket.getaddrinfo pictures.invalid"]


def test_the_fence_refuses_before_the_last_line_is_reached() -> None:
    with fenced() as fence, socket.socket() as sock, pytest.raises(OSError, match="fence"):
        sock.connect((_NOBODY, 9))

    assert fence.refused == [_NOBODY]
    assert taken_back() == []


def test_this_machine_may_be_dialled() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        assert connection.getpeername() == server.getsockname()
