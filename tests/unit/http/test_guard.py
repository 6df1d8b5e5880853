"""What is dialled, seen from below: every test runs behind the fence, and so do the controls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError
from imagemill.http import Deadline, GuardedClient, HttpSettings
from tests.support.fence import Fence
from tests.support.picture_server import PictureServer, picture, redirect

LOOPBACK = ip_network("127.0.0.0/8")

CLOSED_HOSTS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "0.0.0.0",
    "0",
    "10.0.0.5",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:7f00:1::]",
    "[fd00:ec2::254]",
    "localhost",
    "LOCALHOST.",
]


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    async with GuardedClient() as client:
        yield client


async def failure_of(client: GuardedClient, url: str) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        await status_of(client, url)
    return caught.value


async def status_of(client: GuardedClient, url: str) -> int:
    async with Deadline(10.0) as deadline, client.get(url, deadline) as answer:
        return answer.status


@pytest.mark.parametrize("host", CLOSED_HOSTS)
async def test_no_spelling_of_a_closed_address_is_dialled(
    client: GuardedClient, server: PictureServer, fence: Fence, host: str
) -> None:
    fence.names["localhost."] = [["127.0.0.1"]]

    error = await failure_of(client, f"http://{host}:{server.port}/a.jpg")

    assert isinstance(error, PermanentError)
    assert error.failure.code in (FailureCode.ADDRESS_DENIED, FailureCode.SOURCE_INVALID)
    assert fence.refused == []
    assert server.connections == 0


@pytest.mark.parametrize("addresses", [["10.0.0.5"], ["8.8.8.8", "10.0.0.5"], ["10.0.0.5", "8.8.8.8"], ["fd00::1"]])
async def test_one_closed_address_of_a_name_refuses_the_name(
    client: GuardedClient, fence: Fence, addresses: list[str]
) -> None:
    fence.names["photos.lan"] = [addresses]

    error = await failure_of(client, "http://photos.lan/a.jpg")

    assert error.failure.code is FailureCode.ADDRESS_DENIED
    assert error.failure.message.startswith("photos.lan is ")
    assert "--allow-net" in error.failure.message
    assert fence.refused == []


async def test_a_redirect_to_a_closed_address_is_not_followed(server: PictureServer, fence: Fence) -> None:
    hidden = server.route("/hidden.jpg", picture(b"secret"))
    async with GuardedClient(HttpSettings(allow_nets=(ip_network("127.0.0.1/32"),))) as client:
        for target in ("http://10.0.0.5/a.jpg", "http://169.254.169.254/latest/", hidden.replace("127.0.0.1", "[::1]")):
            url = server.route("/start.jpg", redirect(target))

            error = await failure_of(client, url)

            assert error.failure.code is FailureCode.ADDRESS_DENIED
    assert fence.refused == []
    assert server.requests["/hidden.jpg"] == 0


async def test_a_name_that_changes_its_address_is_judged_at_each_lookup(server: PictureServer, fence: Fence) -> None:
    fence.names["rebinding.test"] = [["127.0.0.1"], ["10.0.0.5"]]
    url = server.route("/a.jpg", picture(b"x")).replace("127.0.0.1", "rebinding.test")
    settings = HttpSettings(allow_nets=(LOOPBACK,), dns_cache_s=0, idle_hosts=0)
    async with GuardedClient(settings) as client:
        assert await status_of(client, url) == 200

        error = await failure_of(client, url)

    assert error.failure.code is FailureCode.ADDRESS_DENIED
    assert fence.lookups == ["rebinding.test"] * 2
    assert fence.refused == []


@pytest.mark.parametrize("addresses", [["8.8.8.8"], ["2606:4700::1111"], ["64:ff9b::808:808"]])
async def test_an_ordinary_public_name_is_dialled(client: GuardedClient, fence: Fence, addresses: list[str]) -> None:
    fence.names["pictures.example"] = [addresses]

    error = await failure_of(client, "http://pictures.example/a.jpg")

    assert set(fence.refused) == set(addresses)
    assert error.failure.code is FailureCode.CONNECTION_FAILED


async def test_a_named_network_is_open_and_the_request_stays_on_the_name(server: PictureServer, fence: Fence) -> None:
    fence.names["pictures.lan"] = [["127.0.0.1"]]
    server.route("/a.jpg", picture(b"x"))
    async with GuardedClient(HttpSettings(allow_nets=(LOOPBACK,))) as client:
        assert await status_of(client, server.url("/a.jpg", "pictures.lan")) == 200

    assert server.heads["/a.jpg"][0]["host"] == f"pictures.lan:{server.port}"
