"""The servers behind `troubles`: one in plain HTTP, one for each fault of a certificate, and ports of no use."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.picture_server import PictureServer, picture, redirect, serve_in_thread

HOST = "localhost"
"""The name that certificates are judged by."""

_CHAIN = 6
"""Redirects in a row: one more than are followed."""


_BLUNT_WORDS = {
    "plain": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    # An alert of TLS (RFC 8446, section 6): fatal, protocol_version.
    "old tls": b"\x15\x03\x01\x00\x02\x02\x46",
    "mute": b"",
}


@dataclass(frozen=True, slots=True)
class World:
    """The servers and ports that a list may lead to."""

    plain: PictureServer
    secure: dict[str, PictureServer]
    """By what is the matter with each; `good` is in order."""
    blunt: dict[str, int]
    """Ports by what is said there to whoever says anything, before the connection ends."""
    closed_port: int
    """Nothing listens there."""
    full_port: int
    """Somebody listens there and never accepts."""
    authority: trustme.CA

    def secure_url(self, kind: str) -> str:
        """The URL of a picture behind the certificate of that kind."""
        return self.secure[kind].url("/a.jpg", HOST)


@contextmanager
def open_world(body: bytes) -> Iterator[World]:
    """Start all servers; those with certificates have `body` for every path."""
    authority = trustme.CA()
    with ExitStack() as stack:
        plain = stack.enter_context(serve_in_thread())
        secure = {}
        for kind, context in _contexts(authority).items():
            server = stack.enter_context(serve_in_thread(tls=context))
            server.fallback = lambda _path: picture(body)
            secure[kind] = server
        for number in range(1, _CHAIN):
            plain.route(f"/redirect-chain-{number}.jpg", redirect(f"/redirect-chain-{number + 1}.jpg"))
        plain.route(f"/redirect-chain-{_CHAIN}.jpg", picture(body))
        plain.route("/end.jpg", picture(body))
        closed, full = stack.enter_context(_closed_port()), stack.enter_context(_full_port())
        blunt = {kind: stack.enter_context(_blunt_port(words)) for kind, words in _BLUNT_WORDS.items()}
        yield World(plain, secure, blunt, closed, full, authority)


def _contexts(authority: trustme.CA) -> dict[str, ssl.SSLContext]:
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    itself = trustme.CA()
    contexts = {
        "good": _context(authority.issue_cert(HOST)),
        "expired": _context(authority.issue_cert(HOST, not_before=now - 2 * day, not_after=now - day)),
        "of tomorrow": _context(authority.issue_cert(HOST, not_before=now + day, not_after=now + 2 * day)),
        "of another name": _context(authority.issue_cert("elsewhere.test")),
        "of an unknown authority": _context(trustme.CA().issue_cert(HOST)),
        "signed by itself": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    }
    with itself.private_key_pem.tempfile() as key, itself.cert_pem.tempfile() as certificate:
        contexts["signed by itself"].load_cert_chain(certificate, key)
    return contexts


def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@contextmanager
def _closed_port() -> Iterator[int]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


@contextmanager
def _blunt_port(words: bytes) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_bluntly, args=(listener, words), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _answer_bluntly(listener: socket.socket, words: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # shut down
        with connection:
            connection.recv(65536)
            connection.sendall(words)


@contextmanager
def _full_port() -> Iterator[int]:
    """Listen with the shortest queue there is, and fill it: who comes later gets no answer at all."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]


def authority_file(world: World, folder: Path) -> Path:
    """Write the authority's certificate where a program can be told to trust it."""
    path = folder / "authority.pem"
    world.authority.cert_pem.write_to_path(str(path))
    return path
