"""A picture server that takes as little of the machine as it can: files of the page cache handed over by the kernel.

    GET /photo/000123.jpg   a picture of the kind `photo`; so for every kind of the corpus

Every URL has bytes of its own (its number stands in a comment), so that nobody finds duplicates.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import socket
import subprocess
import sys
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import corpus

_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/%s\r\nContent-Length: %d\r\n\r\n"
_MARK_BYTES = 8
"""Digits of the number that makes a picture the only one of its kind."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of an open file."""

    file: int
    start: int
    end: int

    def sent_to(self, client: socket.socket) -> _Piece | None:
        """Send as much as is taken; return what is left."""
        start = self.start + os.sendfile(client.fileno(), self.file, self.start, self.end - self.start)
        return _Piece(self.file, start, self.end) if start < self.end else None


class Picture:
    """A file of the corpus, from which a picture for each number is made without copying it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._size = path.stat().st_size
        self._start = os.pread(self._file, 64, 0)

    def answer(self, number: int) -> tuple[bytes, _Piece, bytes]:
        """Return what is sent one after the other."""
        mark = b"%0*d" % (_MARK_BYTES, number)
        if self._start.startswith(b"\xff\xd8"):
            return self._parts(b"jpeg", self._start[:2] + b"\xff\xfe\x00\x0a" + mark, 2)
        if self._start.startswith(b"\x89PNG"):
            chunk = b"tEXtnumber\x00" + mark
            comment = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
            return self._parts(b"png", self._start[:33] + comment, 33)
        # WebP: a RIFF file, whose length stands at its start; chunks that a decoder doesn't know are passed over.
        comment = b"NUMB" + _MARK_BYTES.to_bytes(4, "little") + mark
        riff = b"RIFF" + (self._size + len(comment) - 8).to_bytes(4, "little")
        return self._parts(b"webp", riff, 8, comment)

    def _parts(self, kind: bytes, first: bytes, at: int, last: bytes = b"") -> tuple[bytes, _Piece, bytes]:
        head = _HEAD % (kind, len(first) + self._size - at + len(last))
        return head + first, _Piece(self._file, at, self._size), last


class _Connection:
    """Requests without a body, answered in their order."""

    def __init__(self, client: socket.socket, shelf: Mapping[bytes, list[Picture]]) -> None:
        self.socket = client
        self._shelf = shelf
        self._unread = b""
        self._unsent: deque[bytes | _Piece] = deque()

    def receive(self) -> bool:
        """Take what has come and answer it; False when the client has gone."""
        received = self.socket.recv(65536)
        *requests, self._unread = (self._unread + received).split(b"\r\n\r\n")
        for request in requests:
            self._answer(request)
        return bool(received)

    def send(self) -> bool:
        """Send what the client takes now; True when all is sent."""
        try:
            while self._unsent:
                part = self._unsent[0]
                rest = self._send_bytes(part) if isinstance(part, bytes) else part.sent_to(self.socket)
                if rest:
                    self._unsent[0] = rest
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            return False
        return True

    def _send_bytes(self, part: bytes) -> bytes:
        # More follows at once: the kernel need not send a packet for the head alone.
        more = socket.MSG_MORE if len(self._unsent) > 1 else 0
        return part[self.socket.send(part, more) :]

    def _answer(self, request: bytes) -> None:
        try:
            _, path, _ = request.split(b" ", 2)
            _, kind, file = path.split(b"/")
            number = int(file.partition(b".")[0])
            pictures = self._shelf[kind]
        except (ValueError, KeyError):
            self._unsent.append(_NOT_FOUND)
        else:
            self._unsent.extend(part for part in pictures[number % len(pictures)].answer(number) if part)


class _Server:
    """All connections in one thread; whatever waits, waits in the kernel."""

    def __init__(self, folder: Path) -> None:
        self._shelf = {kind.encode(): [Picture(path) for path in corpus.ensure(folder, kind)] for kind in corpus.KINDS}
        self._waiting = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._door = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._waiting.register(self._door, select.EPOLLIN)
        self.address = f"http://127.0.0.1:{self._door.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            for number, _ in self._waiting.poll():
                if number == self._door.fileno():
                    self._welcome()
                else:
                    self._attend(self._connections[number])

    def _welcome(self) -> None:
        client, _ = self._door.accept()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[client.fileno()] = _Connection(client, self._shelf)
        self._waiting.register(client, select.EPOLLIN)

    def _attend(self, connection: _Connection) -> None:
        try:
            with contextlib.suppress(BlockingIOError):
                if not connection.receive():
                    raise ConnectionResetError
            done = connection.send()
        except OSError:
            del self._connections[connection.socket.fileno()]
            connection.socket.close()
        else:
            self._waiting.modify(connection.socket, select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT)


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    server = _Server(parser.parse_args().folder)
    print(server.address, flush=True)
    server.serve()
