"""Settings that say where something is: where to listen, and the parts of a mill as URLs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

_TARGET = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")
_HIDDEN = "***"
_SECRET_PARAMETER = re.compile(r"pass|secret|token|key|sig|credential", re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class Target:
    """An address: `host:port`, `[ipv6]:port` or, for gRPC, `unix:path`."""

    lowest_port: int = 1
    """0 where the system may choose."""
    sockets: bool = True
    """Whether it may be a Unix socket."""

    @property
    def allowed(self) -> str:
        """The forms."""
        return "host:port, [IPv6 address]:port or unix:/path" if self.sockets else "host:port or [IPv6 address]:port"

    def read(self, given: object) -> str:
        """Read an address; a name in it is not looked up."""
        text = given if isinstance(given, str) else ""
        if self.sockets and text.startswith("unix:") and len(text) > len("unix:"):
            return text
        match = _TARGET.fullmatch(text)
        if match is None or not self.lowest_port <= int(match["port"]) <= 65535:
            raise ValueError(f"this is no address; give {self.allowed}, such as 127.0.0.1:50051.")
        return text

    def write(self, value: str) -> str:
        """The address."""
        return value


@dataclass(frozen=True, repr=False)
class Url:
    """A URL of one of some schemes; it may hold a password, so its setting is a secret."""

    schemes: tuple[str, ...]
    example: str

    @property
    def allowed(self) -> str:
        """The schemes and an example."""
        return f"a URL that begins with {' or '.join(f'{scheme}:' for scheme in self.schemes)}, such as {self.example}"

    def read(self, given: object) -> str:
        """Read a URL. The refusal never repeats what was given."""
        if not isinstance(given, str) or given.partition(":")[0].lower() not in self.schemes:
            raise ValueError(f"give {self.allowed}.")
        if _parts(given) is None:
            hint = "characters such as @ : / ? # in a password are written percent-encoded"
            raise ValueError(f"give {self.allowed}; {hint}.")
        return given

    def write(self, value: str) -> str:
        """The URL, passwords included."""
        return value


def masked(url: str) -> str:
    """Return `url` with every password, key and token in it replaced, fit to be shown."""
    parts = _parts(url)
    if parts is None:
        return _HIDDEN
    account, at, place = parts.netloc.rpartition("@")
    user, colon, _ = account.partition(":")
    query = [
        (name, _HIDDEN if _SECRET_PARAMETER.search(name) else value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    # Put together here: urlunsplit() takes slashes away from a scheme that it does not know, such as sqlite:////data.
    scheme = parts.scheme and f"{parts.scheme}:"
    slashes = "//" if url[len(scheme) :].startswith("//") else ""
    shown = f"{scheme}{slashes}{user}{colon and ':' + _HIDDEN}{at}{place}{parts.path}"
    return f"{shown}?{urlencode(query, safe='*/:')}" if query else shown


def _parts(url: str) -> SplitResult | None:
    """The parts of a URL; None when it can't be read, or a password with a slash or the like ends its address early."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return None if port is not None and "@" not in parts.netloc and "@" in url else parts
