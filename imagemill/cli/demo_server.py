"""The demo's web server, in a process of its own: good pictures and the troubles that real hosts make.

`python -m imagemill.cli.demo_server` serves on a free port of 127.0.0.1, writes the port as its first line and
ends when its standard input does, so that it can't outlive the demo.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import lru_cache

from imagemill.cli.demo_pictures import jpeg, landscape, painter

LOGIN_PAGE = b"<!DOCTYPE html><html><title>Log in</title><body>Please log in to see this picture.</body></html>"
NOTES = b"Buy milk. Call the harbour master. The tower closes at six; bring the long ladder and two lamps.\n" * 3
SLOW_S = 2.0

_REQUEST_LINE = re.compile(rb"GET (\S+) HTTP/1\.1\r\n")
_REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}

Answer = Callable[[asyncio.StreamWriter, str], Awaitable[None]]


@lru_cache(maxsize=64)
def photo(number: int) -> bytes:
    """Make good picture `number`, once."""
    return painter(number)()


class DemoServer:
    """Answers each path in its own way; paths are `/{way}/{name}`."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._ways: dict[str, Answer] = {
            "photos": self._photo,
            "copies": self._copy,
            "flaky": self._flaky,
            "slow": self._slow,
            "truncated": self._truncated,
            "empty": lambda writer, path: reply(writer, b""),
            "html": lambda writer, path: reply(writer, LOGIN_PAGE, "text/html"),
            "text": lambda writer, path: reply(writer, NOTES, "text/plain"),
        }

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until either side closes it."""
        # A client may go at any point of an answer; that is its right.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while not writer.is_closing():
                request = _REQUEST_LINE.match(await reader.readuntil(b"\r\n\r\n"))
                if request is None:
                    break
                await self._answer(writer, request[1].decode())
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, path: str) -> None:
        self._asked[path] += 1
        way = self._ways.get(path.split("/")[1])
        await (way(writer, path) if way else reply(writer, b"There is no such picture.", "text/plain", 404))

    async def _photo(self, writer: asyncio.StreamWriter, path: str) -> None:
        await reply(writer, photo(int(path[-2:])))

    async def _copy(self, writer: asyncio.StreamWriter, path: str) -> None:
        await reply(writer, photo(0))

    async def _flaky(self, writer: asyncio.StreamWriter, path: str) -> None:
        if self._asked[path] <= 2:
            await reply(writer, b"Busy.", "text/plain", 503)
        else:
            await reply(writer, jpeg(landscape(1001)))

    async def _slow(self, writer: asyncio.StreamWriter, path: str) -> None:
        body = jpeg(landscape(1002))
        writer.write(head(200, "image/jpeg", len(body)))
        pieces = 20
        for place in range(pieces):
            await asyncio.sleep(SLOW_S / pieces)
            writer.write(body[len(body) * place // pieces : len(body) * (place + 1) // pieces])
            await writer.drain()

    async def _truncated(self, writer: asyncio.StreamWriter, path: str) -> None:
        body = jpeg(landscape(1003))
        writer.write(head(200, "image/jpeg", len(body)) + body[: len(body) // 2])
        await writer.drain()
        writer.close()


async def reply(writer: asyncio.StreamWriter, body: bytes, kind: str = "image/jpeg", status: int = 200) -> None:
    """Write a whole answer."""
    writer.write(head(status, kind, len(body)) + body)
    await writer.drain()


def head(status: int, kind: str, length: int) -> bytes:
    """Write the head of an answer."""
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


async def serve() -> None:
    """Serve until standard input ends."""
    server = await asyncio.start_server(DemoServer().serve_connection, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(serve())
