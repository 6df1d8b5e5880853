"""Where a mill is to listen, looked at before it starts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from imagemill.embedded.listening import AddressUnusable, free_address


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_port_0_becomes_a_free_one(host: str) -> None:
    address = free_address(f"{host}:0")

    assert address.startswith(f"{host}:")
    assert int(address.rpartition(":")[2]) > 0
    assert free_address(address) == address


def test_an_address_in_use_is_refused_and_free_again_afterwards() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AddressUnusable, match="something else listens there"):
            free_address(address)

    assert free_address(address) == address


@pytest.mark.parametrize(
    "listen", ["", "50051", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "::1:1"]
)
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(AddressUnusable, match="is no address"):
        free_address(listen)


def test_an_address_of_another_machine_is_refused() -> None:
    # TEST-NET-1 of RFC 5737: no machine has it.
    with pytest.raises(AddressUnusable, match="no network card"):
        free_address("192.0.2.1:50051")


def test_a_socket_that_nobody_listens_on_is_free_and_another_is_not(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/mill.sock"
    assert free_address(address) == address

    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(tmp_path / "mill.sock"))
        taken.listen()
        with pytest.raises(AddressUnusable, match="something else listens there"):
            free_address(address)

    # What a mill that was killed leaves behind keeps the next one out in no way.
    assert (tmp_path / "mill.sock").is_socket()
    assert free_address(address) == address


def test_a_socket_that_cannot_be_made_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    for name, reason in (("none/mill.sock", "there is no folder"), ("notes.txt", "no socket"), ("m" * 200, "too long")):
        with pytest.raises(AddressUnusable, match=reason):
            free_address(f"unix:{tmp_path}/{name}")
