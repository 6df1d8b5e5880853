"""Which addresses may be dialled: judged by the address itself, never by the text that led to it.

`ipaddress.is_global` is not used: Python 3.11 calls NAT64, 6to4, site-local, multicast and IPv4-compatible
addresses global. The tables hold every block of IANA's two special-purpose registries (RFC 6890 and its updates),
those too that are reachable but serve the network itself, multicast, and what IPv6 has outside of 2000::/3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from imagemill.http.settings import Network

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Refusal:
    """An address is not dialled: `kind` names what it is, `network` is the one to allow if it is the user's own."""

    address: Address
    kind: str
    network: Network
    singly: bool = False
    """Whether the address stays closed unless it is named by itself, not as part of a network."""

    def sentence(self, name: str | None = None) -> str:
        """Say it to the user; `name` is the host that led to the address, when there was one."""
        subject = f"{name} is {self.address}," if name and name != str(self.address) else f"{self.address} is"
        return f"{subject} {self.kind}; allow it with --allow-net {self.network} if it is yours."

    def lifted_by(self, allowed: Iterable[Network]) -> bool:
        """Say whether one of the `allowed` networks opens the address."""
        own = ip_network(self.address)
        networks = map(_unmapped_network, allowed)
        return any(network == own if self.singly else self.address in network for network in networks)


def _table(*rows: tuple[str, str]) -> tuple[tuple[Network, str], ...]:
    return tuple((ip_network(network), kind) for network, kind in rows)


_DENIED_V4 = _table(
    ("0.0.0.0/8", "an address of this very machine"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "an address shared inside a provider's network"),
    ("127.0.0.0/8", "a loopback address"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "an address reserved for protocols"),
    ("192.0.2.0/24", "an address for documentation"),
    ("192.31.196.0/24", "an address of a network's own name servers"),
    ("192.52.193.0/24", "an address of multicast relays"),
    ("192.88.99.0/24", "an address of the former 6to4 relays"),
    ("192.168.0.0/16", "a private address"),
    ("192.175.48.0/24", "an address of a network's own name servers"),
    ("198.18.0.0/15", "an address for benchmarks"),
    ("198.51.100.0/24", "an address for documentation"),
    ("203.0.113.0/24", "an address for documentation"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),
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
    ("2620:4f:8000::/48", "an address of a network's own name servers"),
    ("3fff::/20", "an address for documentation"),
    ("5f00::/16", "an address inside a provider's routing"),
    ("fc00::/7", "a private address"),
    ("fec0::/10", "a former site-local address"),
    ("ff00::/8", "a multicast address"),
)

# Where clouds hand a machine's secrets to whoever asks from within, and what else answers on a machine's own wire.
# A network that is allowed for its pictures must not open them along the way.
_DENIED_SINGLY = _table(
    ("169.254.0.0/16", "a link-local address, where clouds keep their machines' secrets"),
    ("fe80::/10", "a link-local address, where clouds keep their machines' secrets"),
    # Alibaba
    ("100.100.100.200/32", "an address inside a provider's network, where clouds keep their machines' secrets"),
    # Azure: public by number, but answered inside its machines only, by the platform that manages them
    ("168.63.129.16/32", "an address of a cloud's own platform"),
    # Oracle
    ("192.0.0.192/32", "a reserved address, where clouds keep their machines' secrets"),
    # Amazon, Google, Scaleway
    ("fd00:ec2::/32", "a private address, where clouds keep their machines' secrets"),
    ("fd20:ce::/32", "a private address, where clouds keep their machines' secrets"),
    ("fd00:42::42/128", "a private address, where clouds keep their machines' secrets"),
)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_TRANSLATED = (_NAT64, *map(IPv6Network, ("64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")))
"""Networks whose addresses end in an IPv4 address."""
_SIX_TO_FOUR = IPv6Network("2002::/16")
_ISATAP = (0x00005EFE, 0x02005EFE)
"""The upper half of an interface's number by which ISATAP says that the lower one is an IPv4 address (RFC 5214)."""


def refusal(address: str, allowed: Iterable[Network] = ()) -> Refusal | None:
    """Return why `address` may not be dialled, or None when it may.

    An IPv4-mapped address is its IPv4 address. Addresses of NAT64, 6to4 and ISATAP are refused when the IPv4
    address inside them is, and `allowed` then has to name the outer one: what a translator reaches is another
    network's. Teredo and IPv4-compatible addresses are refused whatever they embed: no picture lives there.

    Link-local addresses, and others where clouds keep a machine's secrets, are opened by their own address among
    `allowed` and by no network.

    Raises `ValueError` when `address` is not an address.
    """
    found = _judged(plain(address))
    return None if found is None or found.lifted_by(allowed) else found


def plain(address: str) -> Address:
    """Return the address that is dialled: without a zone, and as IPv4 if it is one mapped to IPv6.

    Raises `ValueError` when `address` is not an address.
    """
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        # The zone is dropped: it picks an interface and doesn't make the address another one.
        return parsed.ipv4_mapped or IPv6Address(int(parsed))
    return parsed


def embedded(address: Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that an IPv6 `address` leads to through a translator or tunnel."""
    if not isinstance(address, IPv6Address):
        return []
    number = int(address)
    found = []
    if number >> 32 & 0xFFFFFFFF in _ISATAP or any(address in network for network in _TRANSLATED):
        found.append(IPv4Address(number & 0xFFFFFFFF))
    if address in _SIX_TO_FOUR:
        found.append(IPv4Address(number >> 80 & 0xFFFFFFFF))
    return found


def _judged(address: Address) -> Refusal | None:
    found = _denied(address)
    for inner in embedded(address):
        within = _denied(inner)
        if within and (found is None or within.singly):
            return Refusal(address, f"a tunnel to {inner}, {within.kind}", ip_network(address), within.singly)
    return found


def _denied(address: Address) -> Refusal | None:
    # An address is in no network of the other version.
    for network, kind in _DENIED_SINGLY:
        if address in network:
            return Refusal(address, kind, ip_network(address), singly=True)
    for network, kind in _DENIED_V4 if isinstance(address, IPv4Address) else _DENIED_V6:
        if address in network:
            return Refusal(address, kind, network)
    if isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST or address in _NAT64:
        return None
    return Refusal(address, "an address outside the public internet", ip_network(address))


def _unmapped_network(network: Network) -> Network:
    """Return what a network of IPv4-mapped addresses means, since addresses are judged unmapped."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return IPv4Network((mapped, network.prefixlen - 96)) if mapped and network.prefixlen >= 96 else network
