"""Addresses that must never be dialled, and their neighbours that may be, written down apart from the code's tables.

After IANA's registries of special-purpose addresses for IPv4 and IPv6, of multicast, and of IPv6's address space.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network

Network = str
Kind = str

CLOSED_NETWORKS: dict[Network, Kind] = {
    "0.0.0.0/8": "this very machine",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "provider",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "name servers",
    "192.52.193.0/24": "multicast",
    "192.88.99.0/24": "6to4",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "name servers",
    "198.18.0.0/15": "benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
    "255.255.255.255/32": "reserved",
    "::/128": "this very machine",
    "::1/128": "loopback",
    "::7f00:0/104": "IPv4-compatible",
    "::ffff:0:0:0/96": "translators",
    "64:ff9b:1::/48": "local translators",
    "100::/64": "discards",
    "100:0:0:1::/64": "outside the public internet",
    "2001::/32": "Teredo",
    "2001:1::/32": "reserved for protocols",
    "2001:2::/48": "reserved for protocols",
    "2001:3::/32": "reserved for protocols",
    "2001:4:112::/48": "reserved for protocols",
    "2001:10::/28": "reserved for protocols",
    "2001:20::/28": "reserved for protocols",
    "2001:30::/28": "reserved for protocols",
    "2001:db8::/32": "documentation",
    "2620:4f:8000::/48": "name servers",
    "3fff::/20": "documentation",
    "5f00::/16": "routing",
    "fc00::/8": "private",
    "fd00::/8": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
    # What IANA has not given out, or has taken back.
    "200::/7": "outside the public internet",
    "400::/6": "outside the public internet",
    "1000::/4": "outside the public internet",
    "4000::/3": "outside the public internet",
    "8000::/1": "",
}

METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.169.253",
    "169.254.0.23",
    "169.254.42.42",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "fe80::a9fe:a9fe",
]
"""Where Amazon, Google, Azure, Alibaba, Tencent, Oracle, Scaleway and OpenStack tell a machine its secrets."""

NEIGHBOURS = [
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.1.255",
    "192.0.3.0",
    "192.31.195.255",
    "192.31.197.0",
    "192.52.192.255",
    "192.52.194.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "192.175.47.255",
    "192.175.49.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2000::",
    "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:200::",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db9::",
    "2003::",
    "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff",
    "2620:4f:8001::",
    "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "3fff:1000::",
    "64:ff9b::808:808",
    "64:ff9b::b00:0",
    "2002:808:808::1",
    "2002:b00::",
    "2a00:1450::5efe:808:808",
    "2a00:1450::5eff:a00:5",
    "::ffff:8.8.8.8",
]
"""Public addresses, next to a closed network or in a tunnel to a public one."""


def edges(network: str) -> list[str]:
    """Return the first, a middle and the last address of `network`."""
    whole = ip_network(network)
    middle = whole.network_address + whole.num_addresses // 2
    return [str(address) for address in dict.fromkeys((whole[0], middle, whole[-1]))]


CLOSED_ADDRESSES = [address for network in CLOSED_NETWORKS for address in edges(network)] + METADATA


@dataclass(frozen=True, slots=True)
class Spelling:
    """A host as it may stand in a URL, and the address that is dialled when it is believed."""

    host: str
    address: str


def spellings(dotted: str) -> list[Spelling]:
    """Return the ways to write an IPv4 address that some program or other takes for it."""
    return [Spelling(host, dotted) for host in (*_numbers(dotted), *_bracketed(dotted))]


def tunnels(dotted: str) -> list[Spelling]:
    """Return the IPv6 addresses that lead to an IPv4 address by way of a translator or tunnel."""
    number = int(IPv4Address(dotted))
    inner = f"{number >> 16:x}:{number & 0xFFFF:x}"
    inverted = f"{~number >> 16 & 0xFFFF:x}:{~number & 0xFFFF:x}"
    addresses = [
        f"::{inner}",
        f"::ffff:0:{inner}",
        f"64:ff9b::{inner}",
        f"64:ff9b:1::{inner}",
        f"64:ff9b:1:{inner}::",
        f"2002:{inner}::",
        f"2002:{inner}:1::808:808",
        f"2002:808:808:0:0:5efe:{inner}",
        f"2002:{inner}:0:0:5efe:808:808",
        f"2001:0:808:808::{inverted}",
        f"2a00:1450::5efe:{inner}",
        f"2a00:1450::200:5efe:{inner}",
        f"fe80::5efe:{inner}",
    ]
    found = [Spelling(f"[{address}]", str(IPv6Address(address))) for address in addresses]
    return [*found, Spelling(f"[64:ff9b::{dotted}]", str(IPv6Address(f"64:ff9b::{inner}")))]


def _numbers(dotted: str) -> list[str]:
    a, b, c, d = IPv4Address(dotted).packed
    number = int(IPv4Address(dotted))
    return [
        dotted,
        f"{dotted}.",
        str(number),
        f"{number}.",
        f"{number:#x}",
        f"{number:#X}",
        f"0{number:o}",
        f"000{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"{a:#X}.{b:#x}.{c}.{d}",
        f"0{a:o}.{b}.{c}.0{d:o}",
        f"0x{a:04x}.{b}.{c}.{d}",
        f"{a}.{b}.{c:#x}.0{d:o}",
        f"00000{a:o}.0{b:o}.0{c:o}.000{d:o}",
        f"{a:#x}.{number & 0xFFFFFF:#x}",
        dotted.replace(".", "。"),
        dotted.replace(".", "\uff0e", 1),
        dotted.replace(".", "\uff61"),
    ]


def _bracketed(dotted: str) -> list[str]:
    number = int(IPv4Address(dotted))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    return [
        f"[::ffff:{dotted}]",
        f"[::FFFF:{dotted}]",
        f"[::ffff:{high}:{low}]",
        f"[0:0:0:0:0:ffff:{high}:{low}]",
        f"[0000:0000:0000:0000:0000:FFFF:{high.zfill(4).upper()}:{low.zfill(4)}]",
        f"[0::0:ffff:{dotted}]",
    ]


UNREADABLE_HOSTS = [
    "\uff11\uff12\uff17.0.0.1",
    "①②⑦.0.0.1",
    "\u0661\u0662\u0667.0.0.1",
    "loca\u00adlhost",
    "ⓛocalhost",
    "0177.0.0.08",
    "127.0.0.1%00",
    "127.0.0.1%2e",
    "%31%32%37.0.0.1",
    "127.0.0.1..",
    ".127.0.0.1",
    "127.0.0.1\\@8.8.8.8",
    "8.8.8.8@127.0.0.1",
    "127.0.0.1\t",
    "256.0.0.1",
    "4294967297",
    "127.0.0.1.2",
    "[::1%25lo]",
    "[::1%lo]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[::ffff:0x7f.1]",
    "[::ffff:127.1]",
    "[::ffff:2130706433]",
    "[127.0.0.1]",
    "[::1",
    "::1",
    "[[::1]]",
    "[::1]127.0.0.1",
    "[v1.fe80::1]",
    "%2Frun%2Fdocker.sock",
    "",
]
"""What no URL can have for a host, though some program or other might read an address from it."""
