"""Where a mill is to listen, looked at before it starts."""

from __future__ import annotations

import socket

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
