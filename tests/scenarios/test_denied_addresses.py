"""A list full of ways into the mill's own network, through the whole mill: each ends as a failed item, none is dialled.

Everything here runs behind the fence, so that a mill without its guard would reach nobody either.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from unittest import mock

import pytest

from imagemill.embedded import EmbeddedSettings, open_mill
from imagemill.runtime.serving import dial
from imagemill.settings.groups import MillSettings
from imagemill.v1.batch_pb2 import Batch, Item
from imagemill.v1.batch_service_pb2_grpc import BatchServiceStub
from tests.support import pictures
from tests.support.eventually import eventually
from tests.support.fence import Fence, fenced
from tests.support.house import House
from tests.support.picture_server import PictureServer, picture, redirect
from tests.support.processes import Ended
from tests.unit.embedded.conftest import PATIENCE_S, Desk

GOOD = pictures.jpeg(64, 48)
NAMES = {
    "inside.test": ["10.0.0.5"],
    "half-inside.test": ["8.8.8.8", "10.0.0.5"],
    "self.test": ["127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "mapped.test": ["::ffff:10.0.0.5"],
    "six.test": ["2606:4700::1111", "fd00::5"],
    "allowed.test": ["127.0.0.1"],
}
CLOSED_HOSTS = [
    "10.0.0.5",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "127.0.0.2",
    "127.2",
    "2130706434",
    "0x7f.2",
    "0177.0.0.02",
    "127.0.0.2.",
    "127。0。0。2",
    "0.0.0.0",
    "0",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.2]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a00:5::]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[ff02::1]",
    "inside.test",
    "half-inside.test",
    "metadata.test",
    "mapped.test",
    "six.test",
]
UNREADABLE_HOSTS = [
    "\uff11\uff12\uff17.0.0.2",
    "127.0.0.2%2e",
    "[fe80::1%25eth0]",
    "8.8.8.8@127.0.0.2",
    "%2Frun%2Fdocker.sock",
]


@pytest.fixture
def fence() -> Iterator[Fence]:
    with fenced() as fence:
        fence.names.update({name: [addresses] for name, addresses in NAMES.items()})
        yield fence


@pytest.fixture
async def server(fence: Fence) -> AsyncIterator[PictureServer]:
    async with PictureServer() as server:
        yield server


@asynccontextmanager
async def opened(home: Path, server: PictureServer, *allowed: str) -> AsyncIterator[Desk]:
    nets = tuple(map(ip_network, allowed))
    settings = EmbeddedSettings(home, MillSettings(allow_nets=nets, downloads=8, retries=2, children=1))
    async with open_mill(settings) as mill, dial(mill.target) as channel, asyncio.timeout(60.0):
        yield Desk(BatchServiceStub(channel), channel, server)


def expect_denied(item: Item) -> None:
    assert (item.state, item.failure.code) == (Item.STATE_FAILED, "ADDRESS_DENIED"), item.source
    assert "allow it with --allow-net " in item.failure.message, item.source
    # Not tried again: who waits for an address to become another one waits in vain.
    assert item.attempts == 1, item.source


async def test_a_batch_of_closed_addresses_fails_item_by_item_without_a_dial(
    tmp_path: Path, server: PictureServer, fence: Fence
) -> None:
    hosts = ["127.0.0.1", "localhost", "self.test", *CLOSED_HOSTS]
    urls = [f"http://{host}:{server.port}/a.jpg" for host in [*hosts, *UNREADABLE_HOSTS]]
    async with opened(tmp_path / "mill", server) as desk:
        batch = await desk.finished("closed", urls)
        items = await desk.items(batch.name)

    assert (batch.state, batch.progress.failed) == (Batch.STATE_COMPLETED, len(urls))
    for item in items[: len(hosts)]:
        expect_denied(item)
    assert {item.failure.code for item in items[len(hosts) :]} == {"SOURCE_INVALID"}
    assert fence.dialled == []
    assert server.connections == 0


async def test_an_allowed_network_opens_what_it_names_through_the_whole_mill(
    tmp_path: Path, server: PictureServer, fence: Fence
) -> None:
    server.route("/good.jpg", picture(GOOD))
    open_urls = [server.url("/good.jpg", host) for host in ("127.0.0.1", "allowed.test", "[::ffff:127.0.0.1]")]
    closed_urls = [server.url("/good.jpg", host) for host in CLOSED_HOSTS]
    closed_urls += [
        server.route(f"/{number}.jpg", redirect(f"http://{host}:{server.port}/good.jpg"))
        for number, host in enumerate(filter(str.isascii, CLOSED_HOSTS))
    ]
    async with opened(tmp_path / "mill", server, "127.0.0.1/32") as desk:
        batch = await desk.finished("partly", open_urls + closed_urls)
        items = await desk.items(batch.name)

    assert [item.state for item in items[: len(open_urls)]] == [Item.STATE_SUCCEEDED] * len(open_urls)
    for item in items[len(open_urls) :]:
        expect_denied(item)
    assert {host for host, _ in fence.dialled} == {"127.0.0.1", "::ffff:127.0.0.1"}


async def test_control_without_the_guard_the_mill_dials_and_the_fence_stops_it(
    tmp_path: Path, server: PictureServer, fence: Fence
) -> None:
    hosts = ["10.0.0.5", "169.254.169.254", "[fd00:ec2::254]", "inside.test"]
    closed = {"10.0.0.5", "169.254.169.254", "fd00:ec2::254"}
    with (
        mock.patch("imagemill.http.guard.refusal", return_value=None),
        mock.patch("imagemill.http.guard.is_own", return_value=False),
    ):
        async with opened(tmp_path / "mill", server) as desk:
            await desk.create("open", [f"http://{host}/a.jpg" for host in hosts])
            await eventually(lambda: set(fence.refused) == closed, timeout_s=PATIENCE_S)

    assert {host for host, _ in fence.dialled} == closed


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """The file in which the command's attempts to dial are written down."""
    return tmp_path / "dialled"


def run_fenced(house: House, record: Path, *options: str, allow: str) -> Ended:
    command = (sys.executable, "-m", "tests.scenarios.fenced", str(record), json.dumps(NAMES))
    return house.start(*options, command=command, allow=allow).ended()


def dialled(record: Path) -> set[str]:
    return {line.split()[0] for line in record.read_text(encoding="ascii").splitlines()}


def test_the_command_refuses_closed_addresses_and_tells_which_and_how_to_allow_them(house: House, record: Path) -> None:
    port = house.server.port
    good = house.server.route("/good.jpg", picture(GOOD))
    away = house.server.route("/away.jpg", redirect(f"http://127.0.0.2:{port}/good.jpg"))
    house.write_list([good, away, *(f"http://{host}:{port}/good.jpg" for host in CLOSED_HOSTS)])

    ended = run_fenced(house, record, "--retries", "2", allow="127.0.0.1/32")

    assert ended.code == 1, ended.said
    first, *others = house.manifest()
    assert first["state"] == "SUCCEEDED"
    assert {(row["state"], row["error_code"], row["attempts"]) for row in others} == {("FAILED", "ADDRESS_DENIED", "1")}
    assert all("allow it with --allow-net " in row["error_message"] for row in others)
    assert "--allow-net" in ended.out + ended.err
    assert dialled(record) == {"127.0.0.1"}
    assert house.requests() == {"/good.jpg": 1, "/away.jpg": 1}


def test_an_allowed_network_does_not_open_the_secrets_of_a_cloud(house: House, record: Path) -> None:
    good = house.server.route("/good.jpg", picture(GOOD))
    secrets = ["http://169.254.169.254/latest/", "http://metadata.test/latest/", "http://168.63.129.16/"]
    house.write_list([good, *secrets])

    ended = run_fenced(house, record, "--allow-net", "169.254.0.0/16", allow="0.0.0.0/0")

    assert ended.code == 1, ended.said
    assert [row["error_code"] for row in house.manifest()] == [""] + ["ADDRESS_DENIED"] * 3
    assert "allow it with --allow-net 169.254.169.254/32" in house.manifest()[1]["error_message"]
    assert dialled(record) == {"127.0.0.1"}


def test_a_secret_s_own_address_opens_it(house: House, record: Path) -> None:
    house.write_list(["http://metadata.test/latest/", "http://169.254.169.253/"])

    ended = run_fenced(house, record, "--retries", "0", allow="169.254.169.254")

    assert ended.code == 1, ended.said
    assert [row["error_code"] for row in house.manifest()] == ["CONNECTION_FAILED", "ADDRESS_DENIED"]
    assert dialled(record) == {"169.254.169.254"}
