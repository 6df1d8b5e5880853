"""The judgement alone: which addresses are closed, what opens them, and that nothing else is closed or opened."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from imagemill.http.addresses import refusal
from imagemill.http.guard import is_own
from tests.unit.http.closed_addresses import (
    CLOSED_ADDRESSES,
    CLOSED_NETWORKS,
    METADATA,
    NEIGHBOURS,
    Spelling,
    edges,
    tunnels,
)

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))
TUNNELS = [
    tunnel for inner in ("127.0.0.1", "10.0.0.5", "169.254.169.254", "255.255.255.255") for tunnel in tunnels(inner)
]


@pytest.mark.parametrize(
    ("address", "kind"), [(address, kind) for network, kind in CLOSED_NETWORKS.items() for address in edges(network)]
)
def test_every_closed_network_is_closed_from_its_first_address_to_its_last(address: str, kind: str) -> None:
    found = refusal(address)

    assert found is not None
    assert found.kind.startswith("a")
    assert kind in found.kind


@pytest.mark.parametrize("address", NEIGHBOURS)
def test_the_neighbours_of_closed_networks_are_open(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize("tunnel", TUNNELS, ids=str)
def test_what_leads_to_a_closed_address_is_closed(tunnel: Spelling) -> None:
    assert refusal(tunnel.address) is not None


@pytest.mark.parametrize("address", CLOSED_ADDRESSES)
def test_what_a_refusal_advises_opens_the_address(address: str) -> None:
    found = refusal(address)

    assert found is not None
    assert f"--allow-net {found.network} " in found.sentence()
    assert refusal(address, (found.network,)) is None


@pytest.mark.parametrize("address", METADATA)
def test_where_clouds_keep_secrets_is_opened_by_its_own_address_only(address: str) -> None:
    own = ip_network(address)
    wider = own.supernet()

    assert refusal(address, (*EVERYTHING, wider)) is not None
    assert refusal(address, (own,)) is None
    assert all(refusal(other, (own,)) is not None for other in METADATA if other != address)


@pytest.mark.parametrize("tunnel", tunnels("169.254.169.254"), ids=str)
def test_a_tunnel_to_secrets_is_opened_by_its_own_address_only(tunnel: Spelling) -> None:
    found = refusal(tunnel.address)

    assert found is not None
    assert refusal(tunnel.address, (ip_network("169.254.169.254/32"),)) is not None
    assert refusal(tunnel.address, (found.network,)) is None
    if "a tunnel to" in found.kind:
        assert found.network == ip_network(tunnel.address)
        assert refusal(tunnel.address, EVERYTHING) is not None


@pytest.mark.parametrize(
    ("allowed", "opened", "still_closed"),
    [
        ("10.20.0.0/16", ["10.20.0.0", "10.20.255.255", "::ffff:10.20.1.1"], ["10.19.255.255", "10.21.0.0"]),
        ("10.20.0.7/32", ["10.20.0.7"], ["10.20.0.6", "10.20.0.8", "64:ff9b::a14:7", "2002:a14:7::"]),
        ("127.0.0.0/8", ["127.0.0.1"], ["::1", "0.0.0.0", "::127.0.0.1"]),
        ("0.0.0.0/0", ["127.0.0.1", "10.0.0.5"], ["::1", "fd00::1", "169.254.1.1", "64:ff9b::a00:5"]),
        ("::1/128", ["::1"], ["127.0.0.1", "::", "::2"]),
        ("fd12:3456::/32", ["fd12:3456::1"], ["fd12:3455:ffff::", "fd12:3457::"]),
        ("64:ff9b::/96", ["64:ff9b::a00:5"], ["10.0.0.5", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:5"]),
        ("fe80::1/128", ["fe80::1", "fe80::1%eth0"], ["fe80::2", "fe80::"]),
        ("::ffff:10.0.0.0/104", ["10.0.0.5", "::ffff:10.0.0.5"], ["127.0.0.1"]),
    ],
)
def test_an_allowed_network_opens_what_it_names_and_nothing_else(
    allowed: str, opened: list[str], still_closed: list[str]
) -> None:
    networks = (ip_network(allowed),)

    assert [address for address in opened if refusal(address, networks)] == []
    assert [address for address in still_closed if not refusal(address, networks)] == []


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f.0.0.1", "10.0.0.5/8", "[::1]", "::1::", "1.2.3.4 "])
def test_what_is_no_address_is_never_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|IPv"):
        refusal(text)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine_knows_its_own_addresses(address: str) -> None:
    assert is_own(ip_address(address))


@pytest.mark.parametrize("address", ["192.0.2.1", "198.51.100.7", "2001:db8::1", "2001:db8::7"])
def test_what_nobody_has_is_not_this_machine(address: str) -> None:
    assert not is_own(ip_address(address))
