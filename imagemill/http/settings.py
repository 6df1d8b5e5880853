"""The guarded client's figures, as one value; whoever starts a service fills it from its own settings."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from imagemill import __version__

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How patient the client is, how many connections it holds, and which closed networks are open to it."""

    total_deadline_s: float = 30.0
    """Seconds for one whole download: every try, redirect and pause of it, but not the wait for a free connection."""
    connect_timeout_s: float = 10.0
    """Seconds until a connection stands, name lookup and TLS handshake included."""
    dns_timeout_s: float = 5.0
    """Seconds for a name lookup; shorter than the connect timeout, so that each failure gets its true name."""
    max_header_bytes: int = 32_768
    """The longest status or header line of an answer; the longest that well-meant ones have is some 10 KB."""
    read_timeout_s: float = 15.0
    """Seconds without a single byte, before or within the answer."""
    min_bytes_per_s: float = 1000.0
    """The slowest body that is worth a connection; below it, over a whole window, the download ends."""
    throughput_window_s: float = 10.0
    """Seconds over which the throughput is measured: shorter ones would end downloads for a hiccup."""
    max_redirects: int = 5
    connections: int = 100
    """Connections in use at once, over all hosts; above the default of 50 downloads, so that redirects find one."""
    connections_per_host: int = 8
    """Connections in use at once to one host: a little more than the 6 of a browser."""
    keepalive_s: float = 15.0
    """Seconds for which an idle connection is kept."""
    idle_hosts: int = 64
    """Hosts to which idle connections are kept; with `connections_per_host` it bounds the open files."""
    dns_cache_s: float = 60.0
    """Seconds for which a name's addresses are remembered."""
    dns_negative_cache_s: float = 1.0
    """Seconds for which it is remembered that a name has none: no longer than the pause before the first quick retry,
    so that each retry asks anew."""
    dns_cache_names: int = 10_000
    """Names that are remembered; those unused for longest are forgotten."""
    user_agent: str = f"Mozilla/5.0 (compatible; Imagemill/{__version__})"
    allow_nets: tuple[Network, ...] = ()
    """Networks that are dialled although they are closed to the public, because their owner named them."""
