"""Which addresses may be dialled: judged by the address itself, never by the text that led to it.

`ipaddress.is_global` is not used: Python 3.11 calls NAT64, 6to4, site-local, multicast and IPv4-compatible
addresses global. The tables follow IANA's special-purpose registries (RFC 6890 and its updates).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from imagemill.http.settings import Network

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Refusal:
    """An address is not dialled: `kind` names what it is, `network` is the one to allow if it is the user's own."""

    address: Address
    kind: str
    network: Network

    def sentence(self, name: str | None = None) -> str:
        """Say it to the user; `name` is the host that led to the address, when there was one."""
        subject = f"{name} is {self.address}," if name and name != str(self.address) else f"{self.address} is"
        return f"{subject} {self.kind}; allow it with --allow-net {self.network} if it is yours."


def _table(*rows: tuple[str, str]) -> tuple[tuple[Network, str], ...]:
    return tuple((ip_network(network), kind) for network, kind in rows)


_DENIED_V4 = _table(
    ("0.0.0.0/8", "an address of this very machine"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "an address shared inside a provider's network"),
    ("127.0.0.0/8", "a loopback address"),
    ("169.254.0.0/16", "a link-local address, where clouds keep their machines' secrets"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "an address reserved for protocols"),
    ("192.0.2.0/24", "an address for documentation"),
    ("192.88.99.0/24", "an address of the former 6to4 relays"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "an address for benchmarks"),
    ("198.51.100.0/24", "an address for documentation"),
    ("203.0.113.0/24", "an address for documentation"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),
    # Public by number, but answered inside Azure's machines only, by the platform that manages them.
    ("168.63.129.16/32", "an address of a cloud's own platform"),
)

_DENIED_V6 = _table(
    ("::/128", "an address of this very machine"),
    ("::1/128", "a loopback address"),
    ("::/96", "an obsolete IPv4-compatible address"),
    ("::ffff:0:0:0/96", "an address for translators"),
    ("64:ff9b:1::/48", "an address for local translators"),
    ("100::/64", "an address that discards"),
    ("2001::/32", "a Teredo tunnel's address"),
    ("2001::/23", "an address reserved for protocols"),
    ("2001:db8::/32", "an address for documentation"),
    ("3fff::/20", "an address for documentation"),
    ("5f00::/16", "an address inside a provider's routing"),
    ("fc00::/7", "a private address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a former site-local address"),
    ("ff00::/8", "a multicast address"),
)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")


def refusal(address: str, allowed: Iterable[Network] = ()) -> Refusal | None:
    """Return why `address` may not be dialled, or None when it may.

    An IPv4-mapped address is its IPv4 address. Addresses of NAT64 and 6to4 are refused when the IPv4 address
    inside them is, and `allowed` then has to name the outer one: what a translator reaches is another
    network's. Teredo and IPv4-compatible addresses are refused whatever they embed: no picture lives there.

    Raises `ValueError` when `address` is not an address.
    """
    outer = _unmapped(ip_address(address))
    if any(outer in network for network in allowed if network.version == outer.version):
        return None
    if found := _denied(outer):
        return Refusal(outer, *found)
    for inner in embedded(outer):
        if found := _denied(inner):
            kind, _ = found
            return Refusal(outer, f"a tunnel to {inner}, {kind}", ip_network(outer))
    return None


def embedded(address: Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses that an IPv6 `address` leads to through a translator or tunnel."""
    if not isinstance(address, IPv6Address):
        return ()
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(int(address) >> 80 & 0xFFFFFFFF),)
    return ()


def _unmapped(address: Address) -> Address:
    if isinstance(address, IPv6Address):
        # The zone is dropped: it picks an interface and doesn't make the address another one.
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def _denied(address: Address) -> tuple[str, Network] | None:
    if isinstance(address, IPv4Address):
        return _match(address, _DENIED_V4)
    if found := _match(address, _DENIED_V6):
        return found
    if address in _GLOBAL_UNICAST or address in _NAT64:
        return None
    return "an address outside the public internet", ip_network(address)


def _match(address: Address, table: tuple[tuple[Network, str], ...]) -> tuple[str, Network] | None:
    return next(((kind, network) for network, kind in table if address in network), None)
