"""Everything that a list of URLs meets in the network, each by a server that really does it.

`TROUBLES` ends in failures, `ODDITIES` in pictures. `open_world` starts the servers; a test asks it for the URLs.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any

from imagemill.domain.failures import FailureCode as Code
from tests.support import pictures
from tests.support.picture_server import (
    Reply,
    cut,
    deflated,
    dropped,
    endless,
    gzipped,
    html,
    lying,
    picture,
    redirect,
    reset,
    slow,
    stalled,
    status,
)
from tests.support.trouble_world import World

JPEG = pictures.jpeg(640, 480, seed=11)
HALF = len(JPEG) // 2
SIGNED = {"Content-Type": "image/jpeg"}
NOW = 1_800_000_000.0
"""The wall clock, in Unix seconds, against which a date in `Retry-After` counts."""

QUICK = 3
"""Tries of one attempt when the trouble often passes at once."""

Place = Callable[[World], str]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One line of a list, what its server does, and what has to be said of it."""

    name: str
    code: Code
    says: str
    """Words that its message must hold."""
    replies: tuple[Reply, ...] = ()
    status: int | None = None
    tries: int = 1
    lasting: bool = False
    """Whether no other attempt is worth it."""
    retry_after: float | None = None
    place: Place | None = None
    """The URL, where it is not simply a path of the plain server."""
    patience: Mapping[str, float] = field(default_factory=dict)
    """Settings of the client, so that a test need not wait."""

    @property
    def path(self) -> str:
        """The path at which the plain server is asked."""
        return f"/{self.name.replace(' ', '-')}.jpg"

    @property
    def by_the_clock(self) -> bool:
        """Whether it speaks of a date, which means nothing where the clock can't be set."""
        return self.retry_after is not None and "date" in self.name

    def url(self, world: World) -> str:
        """Prepare the server; return the URL."""
        if self.replies:
            world.plain.route(self.path, *self.replies)
        return self.place(world) if self.place else world.plain.url(self.path)


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something unusual that brings a picture all the same."""

    name: str
    reply: Reply
    warnings: tuple[str, ...] = ()
    """Words of each warning that is recorded."""

    @property
    def path(self) -> str:
        """The path at which the plain server is asked."""
        return f"/{self.name.replace(' ', '-')}.jpg"


def raw(head: bytes, body: bytes = b"") -> Reply:
    return Reply(raw=head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def lasting(name: str, code: Code, says: str, *replies: Reply, **more: Any) -> Trouble:
    return replace(Trouble(name, code, says, replies, lasting=True), **more)


def _at(host_and_path: str) -> Place:
    return lambda world: f"http://{host_and_path.replace('PORT', str(world.plain.port))}"


def _redirected(name: str, to: str) -> Trouble:
    return lasting(f"redirect to {name}", Code.REDIRECT_INVALID, "redirects", redirect(to))


_NAMES_AND_CONNECTIONS = (
    Trouble("no such host", Code.DNS_FAILED, "check the spelling", tries=QUICK, place=_at("nobody.test/a.jpg")),
    Trouble("no answer about a name", Code.DNS_FAILED, "no name server", tries=QUICK, place=_at("mute.test/a.jpg")),
    Trouble(
        "nothing listens", Code.CONNECTION_REFUSED, "check the port", tries=QUICK,
        place=lambda world: f"http://127.0.0.1:{world.closed_port}/a.jpg",
    ),
    Trouble(
        "nobody accepts", Code.CONNECT_TIMEOUT, "try again later", tries=QUICK,
        place=lambda world: f"http://127.0.0.1:{world.full_port}/a.jpg", patience={"connect_timeout_s": 0.2},
    ),
    # A used connection that ends may have been idle too long: one such end is repeated below, and is no try.
    Trouble("hangs up", Code.CONNECTION_FAILED, "broke before it answered", (dropped(),), tries=QUICK),
    Trouble("resets", Code.CONNECTION_FAILED, "broke before it answered", (reset(),), tries=QUICK),
    lasting("private address", Code.ADDRESS_DENIED, "--allow-net 10.0.0.0/8", place=_at("10.0.0.5/a.jpg")),
    lasting("redirect to a private address", Code.ADDRESS_DENIED, "--allow-net", redirect("http://10.0.0.5/a.jpg")),
    lasting("unusual spelling", Code.SOURCE_INVALID, "write it as 8.8.8.8", place=_at("134744072/a.jpg")),
)  # fmt: skip

_CERTIFICATES = {
    "expired": "has expired",
    "of tomorrow": "not valid yet",
    "of another name": "another name",
    "signed by itself": "signed by itself",
    "of an unknown authority": "does not trust; if it is yours, name the file",
}


def _secure(kind: str) -> Place:
    return lambda world: world.secure_url(kind)


def _blunt(kind: str) -> Place:
    return lambda world: f"https://127.0.0.1:{world.blunt[kind]}/a.jpg"


_TLS = (
    *(
        lasting(f"certificate {kind}", Code.TLS_FAILED, says, place=_secure(kind))
        for kind, says in _CERTIFICATES.items()
    ),
    lasting("certificate without the address", Code.TLS_FAILED, "another address",
            place=lambda world: world.secure_url("good").replace("localhost", "127.0.0.1")),
    Trouble("tls of the past", Code.TLS_FAILED, "too old", tries=QUICK, place=_blunt("old tls")),
    Trouble("no tls at all", Code.TLS_FAILED, "plain http", tries=QUICK, place=_blunt("plain")),
    Trouble("tls that hangs up", Code.CONNECTION_FAILED, "try again", tries=QUICK, place=_blunt("mute")),
)  # fmt: skip

_TIMES = (
    Trouble(
        "silent", Code.READ_TIMEOUT, "did not answer in time", (Reply(silent=True),), patience={"read_timeout_s": 0.2}
    ),
    Trouble(
        "stalls before the body", Code.READ_TIMEOUT, "stopped sending", (stalled(JPEG, 0),), 200,
        patience={"read_timeout_s": 0.2},
    ),
    Trouble(
        "stalls in the body", Code.READ_TIMEOUT, "stopped sending", (stalled(JPEG, HALF),), 200,
        patience={"read_timeout_s": 0.2},
    ),
    Trouble(
        "a byte a second", Code.TOO_SLOW, "1,000 bytes a second", (slow(JPEG, 1.0),), 200,
        patience={"throughput_window_s": 0.5},
    ),
    Trouble(
        "slow for long", Code.DOWNLOAD_TIMEOUT, "not complete within", (slow(JPEG * 20, 50_000.0),), None,
        patience={"total_deadline_s": 0.4},
    ),
)  # fmt: skip

_CHUNKED = b"HTTP/1.1 200 OK\nContent-Type: image/jpeg\nTransfer-Encoding: chunked"
_NO_HTTP = (
    Trouble("noise", Code.PROTOCOL_ERROR, "not valid HTTP", (Reply(raw=b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),), tries=QUICK),
    Trouble("malformed status", Code.PROTOCOL_ERROR, "not valid HTTP", (raw(b"HTTP/1.1 two hundred"),), tries=QUICK),
    Trouble("no colon", Code.PROTOCOL_ERROR, "not valid HTTP", (raw(b"HTTP/1.1 200 OK\nheader"),), tries=QUICK),
    Trouble(
        "two lengths", Code.PROTOCOL_ERROR, "not valid HTTP",
        (raw(b"HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6", b"123456"),), tries=QUICK,
    ),
    Trouble(
        "negative length", Code.PROTOCOL_ERROR, "not valid HTTP", (raw(b"HTTP/1.1 200 OK\nContent-Length: -5", JPEG),),
        tries=QUICK,
    ),
    Trouble(
        "length and chunks", Code.PROTOCOL_ERROR, "not valid HTTP",
        (raw(b"HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked", chunk(JPEG) + b"0\r\n\r\n"),),
        tries=QUICK,
    ),
    Trouble(
        "a megabyte of header", Code.PROTOCOL_ERROR, "longer headers",
        (raw(b"HTTP/1.1 200 OK\nX-Long: " + b"x" * 1_000_000),), tries=QUICK,
    ),
    Trouble(
        "a megabyte of headers", Code.PROTOCOL_ERROR, "not valid HTTP",
        (raw(b"HTTP/1.1 200 OK" + b"".join(b"\nX-%d: %s" % (n, b"x" * 990) for n in range(1000))),), tries=QUICK,
    ),
    Trouble(
        "broken chunk", Code.PROTOCOL_ERROR, "not valid HTTP",
        (replace(raw(_CHUNKED, chunk(JPEG[:HALF]) + b"gibberish\r\n\r\n"), bytes_per_s=20_000.0),), 200, QUICK,
    ),
    Trouble(
        "chunk longer than it says", Code.PROTOCOL_ERROR, "not valid HTTP",
        (raw(_CHUNKED, b"a\r\n" + JPEG[:HALF] + b"\r\n0\r\n\r\n"),), tries=QUICK,
    ),
)  # fmt: skip

_REDIRECTS = (
    lasting("redirect loop", Code.TOO_MANY_REDIRECTS, "in a circle", redirect("/redirect-loop.jpg")),
    lasting("redirect chain", Code.TOO_MANY_REDIRECTS, "more than 5", redirect("/redirect-chain-1.jpg")),
    lasting("redirect to nowhere", Code.REDIRECT_INVALID, "without saying where", status(302)),
    _redirected("ftp", "ftp://127.0.0.1/a.jpg"),
    _redirected("file", "file:///etc/hostname"),
    _redirected("data", "data:image/gif;base64,R0lGODlhAQABAAAAACw="),
    _redirected("a user", "http://name:word@127.0.0.1/a.jpg"),
    _redirected("no host", "http://:80/a.jpg"),
    _redirected("an odd port", "http://127.0.0.1:99999/a.jpg"),
)

_STATUSES = (
    *(
        lasting(f"status {number}", code, f"status {number}", status(number, b"<html>No.</html>"), status=number)
        for code, numbers in {
            Code.SOURCE_NOT_FOUND: (404, 410),
            Code.SOURCE_FORBIDDEN: (401, 402, 403, 407, 451),
            Code.SOURCE_REFUSED: (300, 400, 405, 406, 409, *range(411, 419), *range(421, 425), 426, 428, 431),
            Code.SOURCE_SERVER_ERROR: (501, 505),
        }.items()
        for number in numbers
    ),
    *(
        Trouble(f"status {number}", code, f"status {number}", (status(number, b"Busy."),), number, tries)
        for number, code, tries in (
            (408, Code.SOURCE_REFUSED, 1),
            (425, Code.SOURCE_REFUSED, 1),
            (429, Code.SOURCE_RATE_LIMITED, QUICK),
            *((number, Code.SOURCE_SERVER_ERROR, QUICK) for number in (500, 502, 503, 504)),
            *((number, Code.SOURCE_SERVER_ERROR, 1) for number in (506, 507, 508, 510, 511, 520, 522, 526, 599)),
        )
    ),
    *(
        Trouble(
            f"429 with {name}", Code.SOURCE_RATE_LIMITED, says, (status(429, Retry_After=value),), 429, tries,
            retry_after=seconds,
        )
        for name, value, seconds, tries, says in (
            ("seconds", "2", 2.0, QUICK, "fewer requests (status 429);"),
            ("many seconds", "90", 90.0, 1, "to wait for 2 minutes"),
            ("a date", formatdate(NOW + 3, usegmt=True), 3.0, QUICK, "fewer requests"),
            ("a far date", formatdate(NOW + 3 * 86400, usegmt=True), 3 * 86400.0, 1, "to wait for 3 days"),
            ("a past date", formatdate(NOW - 60, usegmt=True), 0.0, QUICK, "fewer requests"),
            ("absurd seconds", "9" * 300, 365 * 86400.0, 1, "to wait for 365 days"),
            ("an absurd date", "Fri, 31 Dec 9999 23:59:59 GMT", 365 * 86400.0, 1, "to wait for 365 days"),
            ("nonsense", "when I am back", None, QUICK, "fewer requests"),
        )
    ),
    lasting("status 304", Code.SOURCE_REFUSED, "status 304", status(304), status=304),
    Trouble(
        "503 with seconds", Code.SOURCE_SERVER_ERROR, "2 minutes", (status(503, Retry_After="120"),), 503,
        retry_after=120.0,
    ),
)  # fmt: skip

_BODIES = (
    *(
        Trouble(f"cut at {name}", Code.CONTENT_TRUNCATED, "before the whole picture", (cut(JPEG, at),), 200)
        for name, at in {"0": 0, "1": 1, "half": HALF, "the last byte": len(JPEG) - 1}.items()
    ),
    Trouble("reset in the body", Code.CONTENT_TRUNCATED, "before the whole picture", (reset(JPEG, HALF),), 200),
    Trouble("length too long", Code.CONTENT_TRUNCATED, "before the whole", (lying(JPEG, len(JPEG) + 1),), 200),
    Trouble("a part", Code.CONTENT_TRUNCATED, "a part of the picture", (status(206, JPEG[:HALF]),), 206),
    Trouble(
        "chunks without end", Code.CONTENT_TRUNCATED, "before the whole picture",
        (raw(_CHUNKED, chunk(JPEG)),), 200,
    ),
    Trouble("empty", Code.CONTENT_EMPTY, "without any content", (picture(b""),), 200),
    Trouble("status 204", Code.CONTENT_EMPTY, "without any content", (status(204),), 204),
    Trouble("status 205", Code.CONTENT_EMPTY, "without any content", (status(205),), 205),
    Trouble("nothing packed", Code.CONTENT_EMPTY, "without any content", (gzipped(b""),), 200),
    Trouble("old and empty", Code.CONTENT_EMPTY, "without any content", (raw(b"HTTP/1.0 200 OK"),), 200),
    lasting("tiny", Code.CONTENT_TOO_SMALL, "60 bytes", picture(JPEG[:60]), status=200),
    lasting("announced as huge", Code.CONTENT_TOO_LARGE, "larger than", lying(JPEG, 100_000_001), status=200),
    lasting("endless", Code.CONTENT_TOO_LARGE, "larger than", endless(JPEG), status=200),
    lasting("gzip bomb", Code.CONTENT_TOO_LARGE, "larger than", gzipped(JPEG + bytes(120_000_000)), status=200),
    Trouble("web page", Code.CONTENT_IS_HTML, "a web page", (html(),), 200),
    Trouble(
        "web page called a picture", Code.CONTENT_IS_HTML, "a web page",
        (replace(html(), headers=SIGNED),), 200,
    ),
    lasting("text", Code.NOT_AN_IMAGE, "no picture", picture(b"nothing special " * 100), status=200),
    lasting("pdf", Code.FORMAT_UNSUPPORTED, "PDF", picture(b"%PDF-1.7 " + bytes(2000)), status=200),
    lasting("svg", Code.FORMAT_UNSUPPORTED, "SVG", picture(b"<svg xmlns='x'>" + b" " * 500 + b"</svg>"), status=200),
    lasting(
        "packed as nobody asked", Code.CONTENT_ENCODING_INVALID, "gzip and deflate",
        Reply(JPEG, headers={"Content-Encoding": "br"}), status=200,
    ),
    Trouble(
        "not packed as it says", Code.CONTENT_ENCODING_INVALID, "damaged",
        (Reply(JPEG, headers={"Content-Encoding": "gzip"}),), 200,
    ),
    Trouble(
        "packed and damaged", Code.CONTENT_ENCODING_INVALID, "damaged",
        (Reply(gzip.compress(JPEG, mtime=0)[:-8] + bytes(8), headers={"Content-Encoding": "gzip"}),), 200,
    ),
    Trouble(
        "packed and cut", Code.CONTENT_TRUNCATED, "the end of it is missing",
        (Reply(zlib.compress(JPEG)[:-9], headers={"Content-Encoding": "deflate"}),), 200,
    ),
)  # fmt: skip

TROUBLES: Sequence[Trouble] = (
    *_NAMES_AND_CONNECTIONS,
    *_TLS,
    *_TIMES,
    *_NO_HTTP,
    *_REDIRECTS,
    *_STATUSES,
    *_BODIES,
)

ODDITIES: Sequence[Oddity] = (
    *(Oddity(f"redirect {code}", redirect("/end.jpg", code)) for code in (301, 302, 303, 307, 308)),
    Oddity("gzip", gzipped(JPEG)),
    Oddity("deflate", deflated(JPEG)),
    Oddity("raw deflate", deflated(JPEG, raw=True)),
    Oddity("chunked", Reply(JPEG, chunked=True, headers=SIGNED)),
    Oddity("http 1.0 without length", Reply(JPEG, version="HTTP/1.0", content_length=None, headers=SIGNED)),
    Oddity("http 1.0 with length", Reply(JPEG, version="HTTP/1.0", headers=SIGNED)),
    Oddity("http 1.1 without length", Reply(JPEG, content_length=None, headers=SIGNED)),
    Oddity("bare line feeds", Reply(raw=b"HTTP/1.1 200 OK\nContent-Type: image/jpeg\n\n" + JPEG)),
    Oddity("early hints", raw(b"HTTP/1.1 103 Early Hints\nLink: </x.css>\n\nHTTP/1.1 200 OK", JPEG)),
    Oddity("long header", Reply(JPEG, headers={**SIGNED, "Content-Security-Policy": "x" * 30_000})),
    Oddity("status 203", Reply(JPEG, 203, SIGNED)),
    Oddity("without type", Reply(JPEG)),
    Oddity("without a special type", picture(JPEG, "application/octet-stream")),
    Oddity("wrong type", picture(JPEG, "image/png"), ("calls it 'image/png'",)),
    Oddity("type of a page", picture(JPEG, "text/html"), ("calls it 'text/html'",)),
    Oddity("type that is none", picture(JPEG, "???"), ("calls it '???'",)),
)
