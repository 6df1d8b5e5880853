from __future__ import annotations

from ipaddress import ip_network

import pytest

from imagemill.http.addresses import refusal

DENIED = {
    "0.0.0.0": "this very machine",
    "0.1.2.3": "this very machine",
    "10.0.0.5": "private",
    "100.64.0.1": "provider",
    "100.100.100.200": "provider",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "169.254.169.254": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.192": "reserved",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.19.255.255": "benchmarks",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "168.63.129.16": "cloud's own platform",
    "::": "this very machine",
    "::1": "loopback",
    "::127.0.0.1": "IPv4-compatible",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:10.0.0.1": "private",
    "::ffff:169.254.169.254%eth0": "link-local",
    "::ffff:0:127.0.0.1": "translators",
    "64:ff9b::7f00:1": "a tunnel to 127.0.0.1",
    "64:ff9b::a9fe:a9fe": "a tunnel to 169.254.169.254",
    "64:ff9b:1::1": "local translators",
    "100::1": "discards",
    "2001::1": "Teredo",
    "2001:2::1": "reserved for protocols",
    "2001:10::1": "reserved for protocols",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "a tunnel to 127.0.0.1",
    "2002:a00:1::1": "a tunnel to 10.0.0.1",
    "3fff::1": "documentation",
    "5f00::1": "routing",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fd20:ce::254": "private",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "1::1": "outside the public internet",
    "4000::1": "outside the public internet",
}

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
    "64:ff9b::808:808",
    "2002:808:808::1",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize(("address", "kind"), DENIED.items())
def test_closed_addresses_are_refused_by_what_they_are(address: str, kind: str) -> None:
    found = refusal(address)

    assert found is not None
    assert kind in found.kind


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_dialled(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize("address", DENIED)
def test_the_network_that_a_refusal_names_opens_its_address(address: str) -> None:
    found = refusal(address)

    assert found is not None
    assert refusal(address, (found.network,)) is None


def test_an_open_network_opens_nothing_else() -> None:
    allowed = (ip_network("10.0.0.0/8"),)

    assert refusal("10.1.2.3", allowed) is None
    assert refusal("::ffff:10.1.2.3", allowed) is None
    assert refusal("127.0.0.1", allowed) is not None
    assert refusal("64:ff9b::a00:1", allowed) is not None
    assert refusal("::1", allowed) is not None


def test_the_sentence_names_host_address_kind_and_remedy() -> None:
    found = refusal("10.0.0.5")

    assert found is not None
    assert found.sentence("photos.lan") == (
        "photos.lan is 10.0.0.5, a private address; allow it with --allow-net 10.0.0.0/8 if it is yours."
    )
    assert found.sentence() == "10.0.0.5 is a private address; allow it with --allow-net 10.0.0.0/8 if it is yours."
