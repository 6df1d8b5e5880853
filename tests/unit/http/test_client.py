from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError, TransientError
from imagemill.domain.sources import validate_url
from imagemill.http import Deadline, GuardedClient, HttpSettings
from imagemill.http.errors import _dns
from tests.support.eventually import eventually
from tests.support.fence import Fence
from tests.support.picture_server import PictureServer, Reply, dropped, picture, redirect, stalled, status

SETTINGS = HttpSettings(allow_nets=(ip_network("127.0.0.0/8"),))


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    async with GuardedClient(SETTINGS) as client:
        yield client


async def body_of(client: GuardedClient, url: str, headers: dict[str, str] | None = None) -> bytes:
    async with Deadline(10.0) as deadline, client.get(url, deadline, headers) as answer:
        return b"".join([piece async for piece in answer.body])


async def failure_of(client: GuardedClient, url: str) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        await body_of(client, url)
    return caught.value


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("/a%7Eb%2fc.jpg?sig=%2B%2f&x=a+b&y", "/a%7Eb%2fc.jpg?sig=%2B%2f&x=a+b&y"),
        ("/a/../b/./c.jpg", "/a/../b/./c.jpg"),
        ("/a//b;p=1/'(c)'.jpg", "/a//b;p=1/'(c)'.jpg"),
        ("/a|b{c}^d.jpg", "/a|b{c}^d.jpg"),
        ("/ü.jpg?q=ß%41", "/%C3%BC.jpg?q=%C3%9F%41"),
        ("/a.jpg#part", "/a.jpg"),
        ("?x=1", "/?x=1"),
        ("", "/"),
    ],
)
async def test_the_url_goes_out_as_written(
    client: GuardedClient, server: PictureServer, written: str, sent: str
) -> None:
    server.route(sent, picture(b"x"))

    assert await body_of(client, server.url(written)) == b"x"
    assert list(server.requests) == [sent]


async def test_a_request_says_who_asks_and_for_what(client: GuardedClient, server: PictureServer) -> None:
    await body_of(client, server.route("/a.jpg", picture(b"x")))

    assert server.heads["/a.jpg"] == [
        {
            "host": f"127.0.0.1:{server.port}",
            "user-agent": SETTINGS.user_agent,
            "accept": "image/*",
            "accept-encoding": "gzip, deflate",
        }
    ]
    assert SETTINGS.user_agent.startswith("Mozilla/5.0 (compatible; Imagemill/")


async def test_neither_cookies_nor_proxies_nor_netrc_are_used(
    client: GuardedClient, server: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.route("/a.jpg", status(200, b"x", Set_Cookie="id=1"))
    url = server.url("/a.jpg", "localhost")  # cookies are never kept for a bare address

    await body_of(client, url)
    await body_of(client, url)

    assert "cookie" not in server.heads["/a.jpg"][1]


async def test_a_connection_is_used_again(client: GuardedClient, server: PictureServer) -> None:
    for number in range(5):
        await body_of(client, server.route(f"/{number}.jpg", picture(b"x" * 100_000)))

    assert server.connections == 1


async def test_idle_connections_are_kept_to_few_hosts_only(server: PictureServer) -> None:
    server.route("/a.jpg", picture(b"x"))
    async with GuardedClient(replace(SETTINGS, idle_hosts=1)) as client:
        for host in ("127.0.0.1", "127.0.0.1", "localhost", "localhost"):
            await body_of(client, server.url("/a.jpg", host))

    assert [head.get("connection") for head in server.heads["/a.jpg"]] == [None, None, "close", "close"]
    assert server.connections == 3


async def test_no_more_connections_to_a_host_than_allowed(server: PictureServer) -> None:
    url = server.route("/a.jpg", stalled(b"xy", 1))
    async with GuardedClient(replace(SETTINGS, connections_per_host=2)) as client:
        downloads = [asyncio.create_task(body_of(client, url)) for _ in range(5)]
        await eventually(lambda: server.open_now == 2)
        downloads[0].cancel()
        await eventually(lambda: server.requests["/a.jpg"] == 3)
        for download in downloads:
            download.cancel()
        await asyncio.gather(*downloads, return_exceptions=True)

    assert server.open_most <= 3  # the third may come before the server has noticed that the first left
    assert server.requests["/a.jpg"] == 3


async def test_waiting_for_a_turn_does_not_use_up_the_deadline(server: PictureServer) -> None:
    stall, good = server.route("/stall.jpg", stalled(b"xy", 1)), server.route("/a.jpg", picture(b"x"))
    async with GuardedClient(replace(SETTINGS, connections_per_host=1)) as client:
        holder = asyncio.create_task(body_of(client, stall))
        await eventually(lambda: server.requests["/stall.jpg"] == 1)

        async def hurried() -> bytes:
            async with Deadline(0.2) as deadline, client.get(good, deadline) as answer:
                return b"".join([piece async for piece in answer.body])

        waiter = asyncio.create_task(hurried())
        done, _ = await asyncio.wait([waiter], timeout=0.5)
        assert not done

        holder.cancel()
        assert await waiter == b"x"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(client: GuardedClient, server: PictureServer, code: int) -> None:
    server.route("/dir/b.jpg?x=%7E", picture(b"x"))
    url = server.route("/dir/a.jpg", redirect("b.jpg?x=%7E", code))

    async with Deadline(10.0) as deadline, client.get(url, deadline) as answer:
        assert answer.status == 200
        assert answer.url == server.url("/dir/b.jpg?x=%7E")


async def test_a_careless_location_is_understood(client: GuardedClient, server: PictureServer) -> None:
    server.route("/my%20pic.jpg", picture(b"x"))
    url = server.route("/a.jpg", redirect("/my pic.jpg"))

    assert await body_of(client, url) == b"x"


async def test_five_redirects_are_followed_and_a_sixth_is_not(client: GuardedClient, server: PictureServer) -> None:
    for number in range(6):
        server.route(f"/{number}", redirect(f"/{number + 1}"))
    server.route("/6", picture(b"x"))

    assert await body_of(client, server.url("/1")) == b"x"
    error = await failure_of(client, server.url("/0"))

    assert isinstance(error, PermanentError)
    assert error.failure.code is FailureCode.TOO_MANY_REDIRECTS


@pytest.mark.parametrize(
    "location", ["", "ftp://example.com/a.jpg", "http://:80/", "file:///etc/passwd", "http://me@h/"]
)
async def test_a_redirect_to_nothing_that_is_fetched_is_a_failure(
    client: GuardedClient, server: PictureServer, location: str
) -> None:
    error = await failure_of(client, server.route("/a.jpg", redirect(location)))

    assert isinstance(error, PermanentError)
    assert error.failure.code is FailureCode.REDIRECT_INVALID


async def test_credentials_do_not_follow_to_another_origin(client: GuardedClient, server: PictureServer) -> None:
    server.route("/end.jpg", picture(b"x"))
    server.route("/near.jpg", redirect("/end.jpg"))
    server.route("/far.jpg", redirect(server.url("/end.jpg", "localhost")))
    headers = {"Authorization": "Bearer token", "X-Note": "kept"}

    await body_of(client, server.url("/near.jpg"), headers)
    await body_of(client, server.url("/far.jpg"), headers)

    near, far = server.heads["/end.jpg"]
    assert (near["authorization"], near["x-note"]) == ("Bearer token", "kept")
    assert "authorization" not in far
    assert far["x-note"] == "kept"


async def test_each_trouble_of_a_connection_has_its_own_code(server: PictureServer, fence: Fence) -> None:
    fence.names["broken..test"] = []
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        troubles = {
            refused: FailureCode.CONNECTION_REFUSED,
            "http://nobody.test/": FailureCode.DNS_FAILED,
            "http://broken..test/": FailureCode.DNS_FAILED,
            server.route("/dropped", dropped()): FailureCode.CONNECTION_FAILED,
            server.route("/noise", Reply(raw=b"SSH-2.0-OpenSSH_9.6\r\n\r\n")): FailureCode.PROTOCOL_ERROR,
            server.route("/silent", Reply(b"x", stall_at=0, raw=None)): FailureCode.READ_TIMEOUT,
            server.route("/cut", Reply(b"xy", cut_at=1)): FailureCode.CONTENT_TRUNCATED,
        }
        async with GuardedClient(replace(SETTINGS, read_timeout_s=0.2)) as client:
            for url, code in troubles.items():
                error = await failure_of(client, url)

                assert error.failure.code is code, url
                assert isinstance(error, TransientError)
                assert error.__cause__ is not None


async def test_a_refused_connection_names_its_port(client: GuardedClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await failure_of(client, f"http://127.0.0.1:{port}/")

    assert error.failure.message == f"127.0.0.1 refuses connections on port {port}; check the port, or try again later."


@pytest.mark.parametrize("host", ["xn--i-7iq.test", "xn--", "xn--a", "XN--0.test"])
async def test_a_name_that_can_not_be_decoded_is_looked_up_as_written(
    client: GuardedClient, fence: Fence, host: str
) -> None:
    error = await failure_of(client, f"http://{host}/a.jpg")

    assert error.failure.code is FailureCode.DNS_FAILED
    assert fence.lookups == [host.lower()]


HOSTS = st.text("abxn-.:[]%@0129_~!$&'()*+=üßΣ中١。\uff0eİ①\u200d\u00ad\ufeff\U0001f600", max_size=16)


# The fence lets nothing through for good, so it need not be a new one for each example.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.one_of(HOSTS, st.text(max_size=12), HOSTS.map("xn--{}".format)), max_size=8))
def test_whatever_host_is_accepted_ends_in_a_failure_of_ours(hosts: list[str]) -> None:
    async def try_all() -> None:
        # No address but a loopback one is dialled, and none may be.
        async with GuardedClient(replace(SETTINGS, allow_nets=())) as client:
            for host in hosts:
                with suppress(PermanentError):
                    await failure_of(client, validate_url(f"http://{host}/a.jpg"))

    asyncio.run(try_all())


async def test_a_server_that_does_not_speak_tls_is_a_trouble_of_tls(client: GuardedClient) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await writer.drain()
        writer.transport.abort()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as plain:
        error = await failure_of(client, f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/a.jpg")

    assert isinstance(error, TransientError)
    assert error.failure.code is FailureCode.TLS_FAILED


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (errno.EMFILE, FailureCode.CONNECTION_FAILED, "ulimit -n"),
        (socket.EAI_AGAIN, FailureCode.DNS_FAILED, "no name server answered"),
        (socket.EAI_NONAME, FailureCode.DNS_FAILED, "no host of the name a.test"),
    ],
)
def test_why_a_name_was_not_found_is_told_in_words(number: int, code: FailureCode, says: str) -> None:
    error = _dns(socket.gaierror(number, "hush"), "a.test")

    assert error.failure.code is code
    assert says in error.failure.message


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (errno.EMFILE, FailureCode.CONNECTION_FAILED, "ulimit -n"),
        (errno.ENFILE, FailureCode.CONNECTION_FAILED, "ulimit -n"),
        (errno.ENETUNREACH, FailureCode.CONNECTION_FAILED, "No route"),
        (errno.EHOSTUNREACH, FailureCode.CONNECTION_FAILED, "No route"),
        (errno.ETIMEDOUT, FailureCode.CONNECT_TIMEOUT, "in time"),
        (errno.EACCES, FailureCode.CONNECTION_FAILED, "try again later"),
    ],
)
async def test_what_the_system_says_of_a_connection_is_told_in_words(
    client: GuardedClient, monkeypatch: pytest.MonkeyPatch, number: int, code: FailureCode, says: str
) -> None:
    async def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", refuse)

    error = await failure_of(client, "http://127.0.0.1:9/")

    assert (error.failure.code, type(error)) == (code, TransientError)
    assert says in error.failure.message
    assert os.strerror(number) not in error.failure.message


async def test_a_connection_that_is_not_accepted_times_out(monkeypatch: pytest.MonkeyPatch, fence: Fence) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    async with GuardedClient(replace(SETTINGS, connect_timeout_s=0.1)) as client:
        error = await failure_of(client, "http://127.0.0.1:9/")

    assert error.failure.code is FailureCode.CONNECT_TIMEOUT
    assert isinstance(error, TransientError)


@pytest.mark.parametrize(
    ("made_for", "trusted", "says"),
    [
        ("localhost", True, ""),
        ("elsewhere.test", True, "another name"),
        ("localhost", False, "does not trust"),
    ],
)
async def test_certificates_are_judged_by_the_name(made_for: str, trusted: bool, says: str) -> None:
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(made_for).configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    if trusted:
        authority.configure_trust(client_tls)
    async with PictureServer(tls=server_tls) as server, GuardedClient(SETTINGS, tls=client_tls) as client:
        server.route("/a.jpg", picture(b"x"))
        url = server.url("/a.jpg", "localhost")
        if not says:
            assert await body_of(client, url) == b"x"
            return
        error = await failure_of(client, url)

    assert isinstance(error, PermanentError)
    assert error.failure.code is FailureCode.TLS_FAILED
    assert says in error.failure.message
