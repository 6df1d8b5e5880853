"""The host of the pictures that a deployment under test fetches; runs in a container of the mill's own image.

`/photo/7.jpg` is picture 7, unlike any other; `/requests` tells how often each was asked for. `/pace/4` lets all
callers together have no more than four pictures a second from then on: a batch lasts however fast the machine is.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from PIL import Image

PORT = 8000


class Turns:
    """Lets so many pass a second."""

    def __init__(self) -> None:
        self.per_second = 100.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        with self._lock:
            mine = self._next = max(time.monotonic(), self._next + 1 / self.per_second)
        time.sleep(max(0.0, mine - time.monotonic()))


class PictureHost(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    turns: ClassVar[Turns] = Turns()
    requests: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path == "/requests":
            self._reply("application/json", json.dumps(self.requests).encode())
            return
        if self.path.startswith("/pace/"):
            self.turns.per_second = float(self.path.removeprefix("/pace/"))
            self._reply("text/plain", b"")
            return
        self.turns.wait()
        self.requests[self.path] += 1
        self._reply("image/jpeg", picture(int("".join(filter(str.isdigit, self.path)))))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _reply(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def picture(number: int) -> bytes:
    """Make a picture that no other number has."""
    file = io.BytesIO()
    image = Image.linear_gradient("L").convert("RGB").resize((320, 240))
    image.save(file, "JPEG", comment=f"picture {number}".encode())
    return file.getvalue()


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), PictureHost).serve_forever()
