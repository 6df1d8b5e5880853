"""A real HTTP server for tests that can be slow, lying, huge, flaky or broken, and counts what it is asked.

    async with PictureServer() as server:
        url = server.route("/a.jpg", status(503), status(503), picture(jpeg))   # the last one stays
        ...
        assert server.requests["/a.jpg"] == 3

`serve_in_thread` is the same server beside blocking code; `python -m tests.support.picture_server FILE` serves
one file for every path from a process of its own, for measurements.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import struct
import sys
import threading
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

_ENDLESS_PIECE = b"\xff" * 65536
_REASONS = {200: "OK", 301: "Moved", 302: "Found", 404: "Not Found", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, and how it goes wrong."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_length: int | None = -1
    """What the header says; -1 tells the truth, None leaves it out and closes the connection at the end."""
    bytes_per_s: float = 0.0
    """Sends no faster than this, in twenty pieces a second; 0 knows no limit."""
    cut_at: int | None = None
    """Closes the connection after so many bytes of the body."""
    stall_at: int | None = None
    """Sends nothing more after so many bytes of the body, until the client goes or the server closes."""
    endless: bool = False
    """Repeats the body for as long as the client reads."""
    chunked: bool = False
    version: str = "HTTP/1.1"
    raw: bytes | None = None
    """Sent instead of all the above, then the connection is closed."""
    silent: bool = False
    """Sends nothing at all until the client goes or the server closes."""
    reset: bool = False
    """Closes with a reset instead of an end: what was not read by then is lost."""


Script = Callable[[str], Reply]


def picture(body: bytes, content_type: str = "image/jpeg") -> Reply:
    return Reply(body, headers={"Content-Type": content_type})


def status(code: int, body: bytes = b"", **headers: str) -> Reply:
    """Answer with a status; `Retry_After="3"` becomes the header Retry-After."""
    return Reply(body, code, {name.replace("_", "-"): value for name, value in headers.items()})


def redirect(to: str, code: int = 302) -> Reply:
    return status(code, Location=to)


def html(text: str = "<!DOCTYPE html><html><body>Sign in to see this picture.</body></html>") -> Reply:
    return Reply(text.encode(), headers={"Content-Type": "text/html; charset=utf-8"})


def slow(body: bytes, bytes_per_s: float) -> Reply:
    return replace(picture(body), bytes_per_s=bytes_per_s)


def cut(body: bytes, at: int) -> Reply:
    return replace(picture(body), cut_at=at)


def stalled(body: bytes, at: int) -> Reply:
    return replace(picture(body), stall_at=at)


def lying(body: bytes, content_length: int) -> Reply:
    return replace(picture(body), content_length=content_length)


def endless(start: bytes) -> Reply:
    """Send `start` and then bytes without end, announcing no length."""
    return replace(picture(start), endless=True, content_length=None)


def gzipped(body: bytes) -> Reply:
    return Reply(gzip.compress(body, mtime=0), headers={"Content-Type": "image/jpeg", "Content-Encoding": "gzip"})


def deflated(body: bytes, *, raw: bool = False) -> Reply:
    """Pack `body` as RFC 9110 has it, or `raw` as many servers do."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS if raw else zlib.MAX_WBITS)
    packed = packer.compress(body) + packer.flush()
    return Reply(packed, headers={"Content-Type": "image/jpeg", "Content-Encoding": "deflate"})


def dropped() -> Reply:
    """Close the connection without an answer."""
    return Reply(raw=b"")


def reset(body: bytes = b"", at: int | None = None) -> Reply:
    """Break the connection: without an answer, or after `at` bytes of the body."""
    return Reply(raw=b"", reset=True) if at is None else replace(cut(body, at), reset=True)


class PictureServer:
    """Serves scripted replies on a free port of 127.0.0.1."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: Counter[str] = Counter()
        """Requests by path and query, as they came over the wire."""
        self.heads: dict[str, list[dict[str, str]]] = defaultdict(list)
        """The headers of each request by path, names in lower case."""
        self.connections = 0
        self.open_now = 0
        """Requests being answered at this moment."""
        self.open_most = 0
        self.fallback: Script = lambda _path: status(404)
        """Answers for paths without a route."""
        self.host, self.port = host, port
        self._tls = tls
        self._routes: dict[str, list[Reply]] = {}
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._visit, self.host, self.port, ssl=self._tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        await self._server.wait_closed()

    def route(self, path: str, *replies: Reply) -> str:
        """Answer requests for `path` with `replies` in turn, the last of them for good; return the URL."""
        self._routes[path] = list(replies)
        return self.url(path)

    def url(self, path: str, host: str | None = None) -> str:
        return f"{'https' if self._tls else 'http'}://{host or self.host}:{self.port}{path}"

    async def close_idle(self) -> None:
        """End every connection that is not being answered, as servers do with those that are idle for long."""
        for writer in list(self._idle):
            writer.close()
            await writer.wait_closed()

    def _next(self, path: str) -> Reply:
        replies = self._routes.get(path)
        if not replies:
            return self.fallback(path)
        return replies.pop(0) if len(replies) > 1 else replies[0]

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        self.connections += 1
        try:
            while await self._exchange(reader, writer):
                self._idle.add(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass  # the client left, or the server closes: both are what the test asked for
        finally:
            self._visits.discard(task)
            self._idle.discard(writer)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self._idle.discard(writer)
        line, *fields = head.decode("latin-1").split("\r\n")
        path = line.split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in fields if row)}
        self.requests[path] += 1
        self.heads[path].append(headers)
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        reply = self._next(path)
        try:
            keep = await _answer(reply, reader, writer)
        finally:
            self.open_now -= 1
        if reply.reset:
            await writer.drain()
            _break(writer)
            return False
        if not keep or headers.get("connection", "").lower() == "close":
            await _close(writer)
            return False
        return True


async def _answer(reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send `reply`; return whether the connection may be used again."""
    if reply.silent:
        await reader.read()
        return False
    if reply.raw is not None:
        await _send(writer, reply.raw, reply.bytes_per_s)
        return False
    writer.write(_head(reply))
    body = reply.body
    if reply.chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    stop = min(at for at in (reply.cut_at, reply.stall_at, len(body)) if at is not None)
    await _send(writer, body[:stop], reply.bytes_per_s)
    while reply.endless:
        await _send(writer, _ENDLESS_PIECE, reply.bytes_per_s)
    if reply.stall_at is not None:
        await reader.read()
    if reply.version != "HTTP/1.1":
        return False
    return reply.cut_at is None and reply.stall_at is None and reply.content_length == -1


def _head(reply: Reply) -> bytes:
    rows = [f"{reply.version} {reply.status} {_REASONS.get(reply.status, 'Status')}"]
    rows += [f"{name}: {value}" for name, value in reply.headers.items()]
    if reply.chunked:
        rows.append("Transfer-Encoding: chunked")
    elif reply.content_length is not None:
        length = len(reply.body) if reply.content_length < 0 else reply.content_length
        rows.append(f"Content-Length: {length}")
    return ("\r\n".join(rows) + "\r\n\r\n").encode("latin-1")


async def _send(writer: asyncio.StreamWriter, body: bytes, bytes_per_s: float) -> None:
    step = max(1, int(bytes_per_s / 20)) if bytes_per_s else len(body) or 1
    for at in range(0, len(body), step):
        writer.write(body[at : at + step])
        await writer.drain()
        if bytes_per_s:
            await asyncio.sleep(step / bytes_per_s)


def _break(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _close(writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@contextmanager
def serve_in_thread(*, tls: ssl.SSLContext | None = None) -> Iterator[PictureServer]:
    """Run a server in a thread of its own; routes may be set from the caller's thread at any time."""
    server = PictureServer(tls=tls)
    ready = threading.Event()
    stop: asyncio.Event
    loop: asyncio.AbstractEventLoop

    async def serve() -> None:
        nonlocal stop, loop
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        async with server:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="picture-server", daemon=True)
    thread.start()
    try:
        if not ready.wait(timeout=10.0):
            raise RuntimeError("the picture server did not start within 10 s")
        yield server
    finally:
        if ready.is_set():
            loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10.0)


async def _serve_everywhere(body: bytes) -> None:
    reply = picture(body)
    server = PictureServer()
    server.fallback = lambda _path: reply
    async with server:
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve_everywhere(Path(sys.argv[1]).read_bytes()))
