"""A picture server that takes as little of the machine as it can: bytes in memory, keep-alive, no framework.

    GET /img/000123.jpg     a photograph of the corpus
    GET /tiny/000123.jpg    a picture of 64x48

Every URL has bytes of its own (its number stands in a JPEG comment), so that nobody finds duplicates.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import corpus

_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_SOI = 2
"""Bytes of the JPEG's start marker, after which a comment may stand."""


class PictureServer(asyncio.Protocol):
    """One connection; requests without a body, answered in their order."""

    def __init__(self, photos: list[bytes], tiny: bytes) -> None:
        self._folders = {b"img": photos, b"tiny": [tiny]}
        self._unread = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # One picture is handed over whole: pauses between its parts would only cost time.
        transport.set_write_buffer_limits(high=1 << 20)

    def data_received(self, data: bytes) -> None:
        *requests, self._unread = (self._unread + data).split(b"\r\n\r\n")
        for request in requests:
            self._transport.writelines(self._answer(request))

    def _answer(self, request: bytes) -> list[bytes | memoryview]:
        try:
            _, path, _ = request.split(b" ", 2)
            _, folder, file = path.split(b"/")
            number = int(file.partition(b".")[0])
            pictures = self._folders[folder]
        except (ValueError, KeyError):
            return [_NOT_FOUND]
        picture = pictures[number % len(pictures)]
        comment = b"\xff\xfe\x00\x0a%08d" % number
        head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (
            len(picture) + len(comment)
        )
        return [head + picture[:_SOI] + comment, memoryview(picture)[_SOI:]]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run the server in a process of its own; yield its address, `http://127.0.0.1:port`."""
    command = [sys.executable, "-m", "benchmarks.server", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def _serve(folder: Path) -> None:
    photos, tiny = corpus.load(folder), corpus.tiny()
    server = await asyncio.get_running_loop().create_server(
        lambda: PictureServer(photos, tiny), "127.0.0.1", 0, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    asyncio.run(_serve(parser.parse_args().folder))
