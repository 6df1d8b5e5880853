"""A front before an object store that passes requests on, or fails as a store and a network fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STALL, HANG_UP = 0, -1
"""Answers of no status: none at all, and a connection that is closed."""
_CODES = {403: "AccessDenied", 404: "NoSuchBucket", 503: "SlowDown"}
_OWN_HEADERS = {"content-length", "transfer-encoding", "connection", "date", "server"}

Trouble = Callable[[str, int], int | None]
"""What to answer to a method when there were so many requests before: a status, one of the above, or None: what the
store answers."""


class Front(ThreadingHTTPServer):
    """Listens on a free port."""

    daemon_threads = True

    def __init__(self, store_port: int, trouble: Trouble) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store_port = store_port
        self.trouble = trouble
        self.released = threading.Event()
        """Ends every stall."""
        self.requests: list[str] = []
        """The methods and paths so far."""

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def front_before(store_port: int, trouble: Trouble) -> Iterator[Front]:
    """Put a front before a store."""
    front = Front(store_port, trouble)
    thread = threading.Thread(target=front.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield front
    finally:
        front.released.set()
        front.shutdown()
        thread.join()
        front.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = self.server.trouble(self.command, len(self.server.requests))
        self.server.requests.append(f"{self.command} {self.path}")
        if told is None:
            self._pass_on(body)
        elif told in (STALL, HANG_UP):
            self.close_connection = True
            if told == STALL:
                self.server.released.wait(30.0)
        else:
            self._answer(told, {}, f"<Error><Code>{_CODES.get(told, 'InternalError')}</Code></Error>".encode())

    def _pass_on(self, body: bytes) -> None:
        connection = HTTPConnection("127.0.0.1", self.server.store_port, timeout=30.0)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _OWN_HEADERS:
                self.send_header(name, value)
        of_head = self.command == "HEAD"
        self.send_header("Content-Length", headers.get("Content-Length", "0") if of_head else str(len(body)))
        self.end_headers()
        if not of_head:
            with suppress(ConnectionError):
                self.wfile.write(body)

    def finish(self) -> None:
        """Close the connection, which may have been cut while it was being answered."""
        with suppress(ConnectionError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
