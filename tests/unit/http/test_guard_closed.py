"""No way to a closed address ends in a connection to it: the whole client, seen from below the code under test.

`fence.dialled` holds every attempt, those to this machine as well, so that an empty one means: nothing was tried.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_network
from unittest import mock

import aiohttp
import pytest

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError
from imagemill.domain.sources import validate_url
from imagemill.http import Deadline, GuardedClient, HttpSettings
from imagemill.http.guard import GuardedResolver, SocketGate
from tests.support.fence import Fence
from tests.support.picture_server import PictureServer, picture, redirect
from tests.unit.http.closed_addresses import (
    CLOSED_ADDRESSES,
    METADATA,
    UNREADABLE_HOSTS,
    Spelling,
    spellings,
    tunnels,
)

TLS = ssl.create_default_context()
EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))
ONLY_THE_SERVER = (ip_network("127.0.0.1/32"),)
PUBLIC, PUBLIC_V6 = "8.8.8.8", "2606:4700::1111"

SPELLED = [
    spelling
    for dotted in ("127.0.0.1", "10.0.0.5", "169.254.169.254", "192.168.1.20", "100.100.100.200")
    for spelling in [*spellings(dotted), *tunnels(dotted)]
]
OF_NAMES = ["127.0.0.1", "10.0.0.5", "169.254.169.254", "0.0.0.0", "::1", "fd00:ec2::254", "fe80::1", "::ffff:10.0.0.5"]
OF_NAMES += ["64:ff9b::7f00:1", "2002:a00:5::"]


def client_of(*allowed: str) -> GuardedClient:
    return GuardedClient(HttpSettings(allow_nets=tuple(map(ip_network, allowed))), tls=TLS)


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    async with client_of() as client:
        yield client


async def status_of(client: GuardedClient, url: str) -> int:
    async with Deadline(10.0) as deadline, client.get(validate_url(url), deadline) as answer:
        return answer.status


async def failure_of(client: GuardedClient, url: str) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        await status_of(client, url)
    return caught.value


async def refused_without_a_dial(client: GuardedClient, fence: Fence, url: str, address: str) -> None:
    error = await failure_of(client, url)

    assert isinstance(error, PermanentError)
    assert error.failure.code is FailureCode.ADDRESS_DENIED
    assert f"{plain(address)}" in error.failure.message
    assert "allow it with --allow-net " in error.failure.message
    assert fence.dialled == []


def plain(address: str) -> str:
    parsed = ip_address(address)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def host_of(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def test_there_are_more_than_three_hundred_ways_in() -> None:
    assert len({*CLOSED_ADDRESSES, *(spelling.host for spelling in SPELLED), *UNREADABLE_HOSTS}) >= 300


@pytest.mark.parametrize("address", CLOSED_ADDRESSES)
async def test_a_closed_address_is_not_dialled(client: GuardedClient, fence: Fence, address: str) -> None:
    await refused_without_a_dial(client, fence, f"http://{host_of(address)}/a.jpg", address)
    assert fence.lookups == []


@pytest.mark.parametrize("spelling", SPELLED, ids=lambda spelling: spelling.host)
async def test_no_spelling_of_a_closed_address_is_dialled(
    client: GuardedClient, fence: Fence, spelling: Spelling
) -> None:
    await refused_without_a_dial(client, fence, f"https://{spelling.host}:8443/a.jpg", spelling.address)
    assert fence.lookups == []


@pytest.mark.parametrize("host", UNREADABLE_HOSTS)
async def test_what_is_no_host_is_not_looked_up_and_not_dialled(client: GuardedClient, fence: Fence, host: str) -> None:
    error = await failure_of(client, f"http://{host}/a.jpg")

    assert isinstance(error, PermanentError)
    assert error.failure.code is FailureCode.SOURCE_INVALID
    assert fence.dialled == []
    assert fence.lookups == []


@pytest.mark.parametrize("scheme", ["file", "ftp", "unix", "http+unix", "gopher", "ws", "data", "jar:http"])
async def test_no_other_scheme_is_tried(client: GuardedClient, fence: Fence, scheme: str) -> None:
    error = await failure_of(client, f"{scheme}://8.8.8.8/a.jpg")

    assert error.failure.code is FailureCode.SOURCE_INVALID
    assert fence.dialled == []


@pytest.mark.parametrize("address", OF_NAMES)
@pytest.mark.parametrize("among", ["alone", "first", "last", "between both versions"])
async def test_a_name_with_one_closed_address_is_not_dialled_at_any(
    client: GuardedClient, fence: Fence, address: str, among: str
) -> None:
    answers = {
        "alone": [address],
        "first": [address, PUBLIC, "1.1.1.1"],
        "last": [PUBLIC, "1.1.1.1", "9.9.9.9", PUBLIC_V6, address],
        "between both versions": [PUBLIC_V6, address, PUBLIC],
    }
    fence.names["photos.test"] = [answers[among]]

    await refused_without_a_dial(client, fence, "https://photos.test/a.jpg", address)
    await refused_without_a_dial(client, fence, "https://PHOTOS.test:8443/a.jpg", address)


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "localhost."])
async def test_this_machines_own_name_is_not_dialled(client: GuardedClient, fence: Fence, name: str) -> None:
    fence.names["localhost."] = [["127.0.0.1"]]

    error = await failure_of(client, f"http://{name}/a.jpg")

    assert error.failure.code is FailureCode.ADDRESS_DENIED
    assert fence.dialled == []


@pytest.mark.parametrize("address", OF_NAMES)
async def test_a_name_that_turns_closed_after_the_check_is_dialled_where_it_was_checked(
    fence: Fence, address: str
) -> None:
    # A second question, between check and connection, would be answered with the closed address.
    fence.names["rebinding.test"] = [[PUBLIC], [address]]
    settings = HttpSettings(dns_cache_s=0, idle_hosts=0)
    async with GuardedClient(settings, tls=TLS) as client:
        await failure_of(client, "http://rebinding.test/a.jpg")
        assert fence.dialled == [(PUBLIC, 80)]
        fence.dialled.clear()

        await refused_without_a_dial(client, fence, "http://rebinding.test/a.jpg", address)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.5/a.jpg",
        "//169.254.169.254/latest/meta-data/",
        "https://[::1]/a.jpg",
        "http://2130706434/a.jpg",
        "http://0x7f.0.0.2/a.jpg",
        "http://[::ffff:127.0.0.2]/a.jpg",
        "http://inside.test/a.jpg",
        "HTTP://INSIDE.test:80/a.jpg",
    ],
)
async def test_no_redirect_leads_to_a_closed_address(
    server: PictureServer, fence: Fence, status: int, target: str
) -> None:
    fence.names["inside.test"] = [[PUBLIC, "127.0.0.2"]]
    url = server.route("/start.jpg", redirect(target, status))
    async with client_of("127.0.0.1/32") as client:
        error = await failure_of(client, url)

    assert error.failure.code is FailureCode.ADDRESS_DENIED
    assert "--allow-net" in error.failure.message
    assert fence.dialled == [("127.0.0.1", server.port)]


@pytest.mark.parametrize("hops", [1, 2, 5])
async def test_every_hop_is_judged(server: PictureServer, fence: Fence, hops: int) -> None:
    fence.names["inside.test"] = [["127.0.0.2"]]
    for hop in range(1, hops):
        server.route(f"/{hop}.jpg", redirect(server.url(f"/{hop + 1}.jpg")))
    server.route(f"/{hops}.jpg", redirect(server.url("/hidden.jpg", "inside.test")))
    server.route("/hidden.jpg", picture(b"secret"))
    async with client_of("127.0.0.1/32") as client:
        error = await failure_of(client, server.url("/1.jpg"))

    assert error.failure.code is FailureCode.ADDRESS_DENIED
    assert server.requests["/hidden.jpg"] == 0
    assert {host for host, _ in fence.dialled} == {"127.0.0.1"}


@pytest.mark.parametrize("address", METADATA)
async def test_where_clouds_keep_secrets_is_dialled_only_when_named_itself(fence: Fence, address: str) -> None:
    fence.names["metadata.test"] = [[address]]
    url = f"http://{host_of(address)}/latest/"
    async with GuardedClient(HttpSettings(allow_nets=EVERYTHING), tls=TLS) as client:
        await refused_without_a_dial(client, fence, url, address)
        await refused_without_a_dial(client, fence, "http://metadata.test/latest/", address)
    async with client_of(address) as client:
        await failure_of(client, url)

    assert fence.dialled == [(address, 80)]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_proxy_in_the_environment_is_not_dialled(
    monkeypatch: pytest.MonkeyPatch, client: GuardedClient, fence: Fence, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:3128")
    fence.names["pictures.test"] = [[PUBLIC]]

    for scheme, port in (("http", 80), ("https", 443)):
        await failure_of(client, f"{scheme}://pictures.test/a.jpg")
        assert fence.dialled.pop() == (PUBLIC, port)
    assert fence.dialled == []


async def test_a_public_address_of_this_machine_is_not_dialled(client: GuardedClient, fence: Fence) -> None:
    fence.names["us.test"] = [["1.1.1.1", PUBLIC]]

    with mock.patch("imagemill.http.guard.is_own", lambda address: str(address) == PUBLIC):
        for host, subject in ((PUBLIC, f"{PUBLIC} is"), ("us.test", f"us.test is {PUBLIC},")):
            error = await failure_of(client, f"http://{host}:6379/a.jpg")
            assert error.failure.code is FailureCode.ADDRESS_DENIED
            assert error.failure.message == (
                f"{subject} an address of this very machine; allow it with --allow-net {PUBLIC}/32 if it is yours."
            )
        assert fence.dialled == []
        async with client_of(PUBLIC) as trusting:
            await failure_of(trusting, f"http://{PUBLIC}:6379/a.jpg")

    assert fence.dialled == [(PUBLIC, 6379)]


async def test_without_the_socket_s_gate_the_resolver_s_still_refuses_a_name(fence: Fence) -> None:
    fence.names["photos.test"] = [[PUBLIC, "127.0.0.1"]]
    connector = aiohttp.TCPConnector(resolver=GuardedResolver((), 5.0))
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(PermanentError, match=r"photos\.test is 127\.0\.0\.1"):
            await session.get("http://photos.test/")

    assert fence.dialled == []


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "10.0.0.5"], [PUBLIC, "127.0.0.1", PUBLIC_V6]])
async def test_without_the_resolver_s_gate_the_socket_s_still_dials_nothing_closed(
    fence: Fence, addresses: list[str]
) -> None:
    fence.names["photos.test"] = [addresses]
    connector = aiohttp.TCPConnector(socket_factory=SocketGate(()))
    async with aiohttp.ClientSession(connector=connector) as session:
        # When it is refused every address of several, aiohappyeyeballs stumbles over having no error of its own.
        with pytest.raises((PermanentError, aiohttp.ClientError, IndexError)):
            await session.get("http://photos.test/")

    assert {host for host, _ in fence.dialled} <= {PUBLIC, PUBLIC_V6}


@pytest.mark.parametrize("address", [*OF_NAMES, *METADATA])
async def test_control_with_both_gates_open_the_fence_sees_the_dial_and_lets_only_loopback_pass(
    monkeypatch: pytest.MonkeyPatch, client: GuardedClient, fence: Fence, address: str
) -> None:
    monkeypatch.setattr("imagemill.http.guard.refusal", lambda *_: None)
    monkeypatch.setattr("imagemill.http.guard.is_own", lambda _: False)
    fence.names["photos.test"] = [[address]]

    for host in (host_of(address), "photos.test"):
        error = await failure_of(client, f"http://{host}:1/a.jpg")
        assert error.failure.code in (FailureCode.CONNECTION_FAILED, FailureCode.CONNECTION_REFUSED)

    assert fence.dialled == [(address, 1)] * 2
    loopback = address in ("127.0.0.1", "::1")
    assert fence.refused == ([] if loopback else [address] * 2)
