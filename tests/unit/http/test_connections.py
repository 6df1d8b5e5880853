"""Connections: used again and again, never for an answer that nobody asked for, and never too many."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import ip_network

import pytest

from imagemill.domain.failures import FailureCode, PipelineError
from imagemill.http import Deadline, GuardedClient, HttpSettings
from tests.support.eventually import eventually
from tests.support.fence import Fence
from tests.support.picture_server import PictureServer, picture, redirect, serve_in_thread, status

SETTINGS = HttpSettings(allow_nets=(ip_network("127.0.0.0/8"),))

Visit = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def body_of(client: GuardedClient, url: str, headers: dict[str, str] | None = None) -> bytes:
    async with Deadline(10.0) as deadline, client.get(url, deadline, headers) as answer:
        return b"".join([piece async for piece in answer.body])


@asynccontextmanager
async def serving(visit: Visit) -> AsyncIterator[str]:
    """A server that is told byte by byte what to do; yields its URL."""
    visits: set[asyncio.Task[None]] = set()

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        visits.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await visit(reader, writer)
        writer.transport.abort()

    async with await asyncio.start_server(visited, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in visits:
            task.cancel()


async def test_thousands_of_requests_to_a_host_share_a_few_connections() -> None:
    with serve_in_thread() as server:
        server.fallback = lambda path: status(404, b"<html>Gone</html>") if path.endswith("7") else picture(b"x" * 2000)
        numbers = iter(range(4000))

        async def work(client: GuardedClient) -> None:
            for number in numbers:
                await body_of(client, server.url(f"/{number}"))

        async with GuardedClient(SETTINGS) as client:
            await asyncio.gather(*(work(client) for _ in range(20)))

        assert sum(server.requests.values()) == 4000
        assert server.connections <= SETTINGS.connections_per_host


async def test_a_connection_that_was_closed_while_it_was_idle_costs_nothing(server: PictureServer) -> None:
    url = server.route("/a.jpg", picture(b"x"))
    async with GuardedClient(SETTINGS) as client:
        await body_of(client, url)
        await server.close_idle()
        assert await body_of(client, url) == b"x"

    assert server.requests["/a.jpg"] == 2
    assert server.connections == 2


@pytest.mark.parametrize(
    "more", [b"y" * 4000, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"], ids=["noise", "another answer"]
)
@pytest.mark.parametrize("late", [False, True], ids=["with the body", "after the body"])
async def test_what_comes_beyond_the_announced_length_is_nobodys_answer(more: bytes, late: bool) -> None:
    connections = 0
    head_read, body_read, more_sent = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            if b"/short" not in head:
                writer.write(b"right")
                continue
            await head_read.wait()
            writer.write(b"right" if late else b"right" + more)
            await body_read.wait()
            writer.write(more if late else b"")
            more_sent.set()

    async with serving(visit) as host, GuardedClient(SETTINGS) as client:
        async with Deadline(5.0) as deadline, client.get(f"{host}/short.jpg", deadline) as answer:
            head_read.set()
            assert b"".join([piece async for piece in answer.body]) == b"right"
        body_read.set()
        await more_sent.wait()
        for _ in range(20):
            await asyncio.sleep(0)  # what has arrived is looked at

        assert [await body_of(client, f"{host}/a.jpg") for _ in range(3)] == [b"right"] * 3

    assert connections == 2


async def test_a_chunk_that_is_broken_later_ends_the_download_at_once() -> None:
    half_read = asyncio.Event()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await half_read.wait()
        writer.write(b"no number\r\n\r\n")
        await reader.read()

    async def read(client: GuardedClient, url: str) -> None:
        async with Deadline(5.0) as deadline, client.get(url, deadline) as answer:
            async for piece in answer.body:
                assert piece == b"first"
                half_read.set()

    async with serving(visit) as host, GuardedClient(SETTINGS) as client:
        with pytest.raises(PipelineError) as caught:
            await read(client, f"{host}/a.jpg")

    assert caught.value.failure.code is FailureCode.PROTOCOL_ERROR


async def test_what_a_server_sets_is_never_sent_back(server: PictureServer, fence: Fence) -> None:
    fence.names["pictures.test"] = [["127.0.0.1"]]
    fence.names["more.pictures.test"] = [["127.0.0.1"]]
    cookie = "id=1; Path=/; Domain=pictures.test"
    server.route("/end.jpg", status(200, b"x", Set_Cookie=cookie, ETag='"1"', WWW_Authenticate="Basic realm=x"))
    server.route("/near.jpg", status(302, Location="/end.jpg", Set_Cookie=cookie))
    server.route("/far.jpg", status(302, Location=server.url("/end.jpg", "more.pictures.test"), Set_Cookie=cookie))
    asked = {"host", "user-agent", "accept", "accept-encoding"}

    async with GuardedClient(SETTINGS) as client:
        for _ in range(2):
            for path in ("/near.jpg", "/far.jpg", "/end.jpg"):
                await body_of(client, server.url(path, "pictures.test"))

    # No cookie, no referer, nothing conditional, no authorization: only what every request has.
    assert {name for heads in server.heads.values() for head in heads for name in head} == asked
    assert sum(server.requests.values()) == 10


@pytest.mark.parametrize("secret", ["Authorization", "Cookie", "Proxy-Authorization"])
async def test_credentials_end_at_the_first_other_origin_and_do_not_come_back(
    server: PictureServer, fence: Fence, secret: str
) -> None:
    fence.names["pictures.test"] = [["127.0.0.1"]]
    end = server.route("/end.jpg", picture(b"x"))
    server.route("/back.jpg", redirect(end))
    server.route("/far.jpg", redirect(server.url("/back.jpg", "pictures.test")))
    start = server.route("/start.jpg", redirect("/far.jpg"))

    async with GuardedClient(SETTINGS) as client:
        await body_of(client, start, {secret: "word"})

    sent = {path: secret.lower() in heads[0] for path, heads in server.heads.items()}
    assert sent == {"/start.jpg": True, "/far.jpg": True, "/back.jpg": False, "/end.jpg": False}


async def test_a_port_or_a_scheme_of_its_own_is_another_origin(server: PictureServer) -> None:
    async with PictureServer() as other, GuardedClient(SETTINGS) as client:
        url = server.route("/a.jpg", redirect(other.route("/end.jpg", picture(b"x"))))

        await body_of(client, url, {"Authorization": "word"})

        assert "authorization" not in other.heads["/end.jpg"][0]


HOSTS = 2000
FILES = 256


def test_two_thousand_hosts_at_once_are_content_with_few_files() -> None:
    with serve_in_thread() as server:
        server.fallback = lambda _path: picture(b"x" * 2000)

        ended = subprocess.run(
            [sys.executable, "-m", "tests.unit.http.many_hosts", str(server.port), str(HOSTS), str(FILES)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert (ended.stdout, ended.stderr, ended.returncode) == (f"{HOSTS} pictures\n", "", 0)
        assert sum(server.requests.values()) == HOSTS


async def test_connections_to_hosts_that_hang_are_counted_with_all_their_addresses(fence: Fence) -> None:
    fence.names["hanging.test"] = [[f"127.0.1.{number}" for number in range(1, 20)]]
    loop = asyncio.get_running_loop()
    dialled = []

    async def hang(_: object, address: tuple[str, int]) -> None:
        dialled.append(address[0])
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "sock_connect", hang)
        async with GuardedClient(replace(SETTINGS, connect_timeout_s=1.0)) as client:
            download = asyncio.create_task(body_of(client, "http://hanging.test/a.jpg"))
            await eventually(lambda: len(dialled) == 2)
            with pytest.raises(PipelineError):
                await download

    assert dialled == ["127.0.1.1", "127.0.1.2"]
