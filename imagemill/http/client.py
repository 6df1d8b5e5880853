"""The one guarded HTTP client: whatever it is asked for, it dials public addresses only, within its limits."""

from __future__ import annotations

import asyncio
import ssl
import string
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import TracebackType
from typing import Self
from urllib.parse import quote, urljoin

import aiohttp
import certifi
import httpx

from imagemill.domain.failures import FailureCode, PermanentError
from imagemill.domain.sources import host_of, validate_url
from imagemill.http.connection import WatchfulConnector
from imagemill.http.guard import GuardedResolver, SocketGate, refuse_spelling
from imagemill.http.names import RememberedNames
from imagemill.http.settings import HttpSettings
from imagemill.http.transport import AiohttpTransport
from imagemill.http.turns import Deadline, IdleHosts, Turns

_REDIRECTS = (301, 302, 303, 307, 308)
_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")
_ASCII = string.punctuation
_NO_BODY = httpx.ByteStream(b"")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: everything but the body, and the body as it comes.

    `url` is the one that answered, after redirects and as written. `body` yields what came over the wire, not
    inflated, in pieces of no fixed size; it may be left in the middle, which costs the connection.
    """

    status: int
    headers: httpx.Headers
    url: str
    body: httpx.AsyncByteStream


class GuardedClient:
    """Gets URLs over shared connections; made and closed inside a running event loop.

    Names and redirects are judged anew each time, proxies and cookies are unknown to it, and nothing is taken
    from the environment. All errors are `PipelineError`s.
    """

    def __init__(self, settings: HttpSettings = HttpSettings(), *, tls: ssl.SSLContext | None = None) -> None:
        self.settings = settings
        self._turns = Turns(settings.connections, settings.connections_per_host)
        self._idle = IdleHosts(settings.idle_hosts, settings.keepalive_s)
        self._names = RememberedNames(GuardedResolver(settings.allow_nets, settings.dns_timeout_s), settings)
        self._transport = AiohttpTransport(
            # Reading some hundred certificates takes longer than a short list over http.
            _session(settings, self._names),
            cache(_trusting_authorities) if tls is None else lambda: tls,
            _timeout(settings),
        )
        self._headers = _headers(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def retune(self, settings: HttpSettings) -> None:
        """Follow changed settings from the next request on.

        The networks that may be dialled, look-ups of names and what idle connections are kept for stay as they were
        at the start.
        """
        self._turns.resize(settings.connections, settings.connections_per_host)
        self._idle.limit = settings.idle_hosts
        self._headers = _headers(settings)
        self._transport.timeout = _timeout(settings)
        self.settings = replace(settings, allow_nets=self.settings.allow_nets)

    async def aclose(self) -> None:
        """Close every connection, idle or in use."""
        await self._transport.aclose()
        await self._names.close()

    @asynccontextmanager
    async def get(
        self, url: str, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Answer]:
        """Yield the answer to a GET of `url`, after redirects, as soon as its headers have come.

        The URL goes out as written. Credentials among `headers` go to the first origin only.

        Raises `PermanentError` SOURCE_INVALID, ADDRESS_DENIED, REDIRECT_INVALID or TOO_MANY_REDIRECTS, and
        what connecting may raise.
        """
        for _ in range(self.settings.max_redirects + 1):
            request = self._request(url, headers)
            async with self._turns.of(_host(request.url), deadline):
                response = await self._transport.handle_async_request(request)
                try:
                    if response.status_code not in _REDIRECTS:
                        yield Answer(response.status_code, response.headers, url, _stream(response))
                        return
                    following = _location(url, response)
                finally:
                    await _stream(response).aclose()
            if headers and _divide(following)[0] != request.url:
                headers = {name: value for name, value in headers.items() if name.lower() not in _CREDENTIALS}
            url = following
        raise PermanentError(
            FailureCode.TOO_MANY_REDIRECTS,
            f"The server redirects more than {self.settings.max_redirects} times, perhaps in a circle; "
            "use the address at which a browser ends up.",
        )

    def _request(self, url: str, headers: Mapping[str, str] | None) -> httpx.Request:
        try:
            origin, target = _divide(url)
        except PermanentError:
            # What httpx can't read, such as zeros in front, may spell an address all the same.
            refuse_spelling(host_of(url), self.settings.allow_nets)
            raise
        refuse_spelling(_host(origin), self.settings.allow_nets)
        # With a stream of its own a request costs half: httpx then derives no headers. aiohttp adds Host.
        request = httpx.Request("GET", origin, headers=self._headers, stream=_NO_BODY, extensions={"target": target})
        if headers:
            request.headers.update(headers)
        if not self._idle.keep(_host(origin), asyncio.get_running_loop().time()):
            request.headers["Connection"] = "close"
        return request


def _session(settings: HttpSettings, names: RememberedNames) -> aiohttp.ClientSession:
    connector = WatchfulConnector(
        resolver=names,
        use_dns_cache=False,  # RememberedNames has one with bounds
        socket_factory=SocketGate(settings.allow_nets),
        keepalive_timeout=settings.keepalive_s,
        limit=0,  # Turns counts them
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=settings.max_header_bytes,
        max_field_size=settings.max_header_bytes,
    )


def _timeout(settings: HttpSettings) -> aiohttp.ClientTimeout:
    # No total: the deadline is the caller's. `connect` covers lookup, connection and handshake together.
    return aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout_s, sock_read=settings.read_timeout_s)


def _headers(settings: HttpSettings) -> httpx.Headers:
    return httpx.Headers({"User-Agent": settings.user_agent, "Accept": "image/*", "Accept-Encoding": "gzip, deflate"})


def _trusting_authorities() -> ssl.SSLContext:
    """Trust this machine's authorities and Mozilla's: small images and old machines often have none of their own."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _stream(response: httpx.Response) -> httpx.AsyncByteStream:
    assert isinstance(response.stream, httpx.AsyncByteStream)  # the transport makes no other kind
    return response.stream


def _divide(url: str) -> tuple[httpx.URL, bytes]:
    """Return origin and target of `url`; the target as written, only what ASCII can't hold percent-encoded.

    Raises `PermanentError` SOURCE_INVALID when the host can't be written in a request.
    """
    start = url.index("://") + 3
    path = min((at for at in map(url.find, "/?#", (start,) * 3) if at >= 0), default=len(url))
    target = url[path:].partition("#")[0]
    if not target.isascii():
        target = quote(target, safe=_ASCII)
    return _origin(url[:path]), (target if target.startswith("/") else "/" + target).encode("ascii")


# httpx takes 25 µs to read a URL, a tenth of the request; hosts come back.
@lru_cache(maxsize=1024)
def _origin(text: str) -> httpx.URL:
    try:
        return httpx.URL(text)
    except httpx.InvalidURL as error:
        raise PermanentError(FailureCode.SOURCE_INVALID, "The host is no name that can be looked up.") from error


def _host(url: httpx.URL) -> str:
    # `url.host` decodes xn-- names, and raises for those that name servers know and IDNA 2008 does not.
    return url.raw_host.decode("ascii")


def _location(url: str, response: httpx.Response) -> str:
    """Return where `response` redirects to.

    Raises `PermanentError` REDIRECT_INVALID when that is nothing the mill fetches.
    """
    location = response.headers.get("Location", "").strip()
    if not location:
        raise PermanentError(
            FailureCode.REDIRECT_INVALID,
            "The server redirects without saying where to; use the picture's present address.",
        )
    try:
        # Browsers encode what a careless server left raw, and so many servers are never told.
        return validate_url(urljoin(url, quote(location, safe=_ASCII)))
    except (PermanentError, ValueError) as error:
        reason = error.failure.message if isinstance(error, PermanentError) else "It is no URL."
        raise PermanentError(
            FailureCode.REDIRECT_INVALID, f"The server redirects to something that can't be fetched. {reason}"
        ) from error
