"""Names are looked up once for many, remembered for a while, and never in the way of the rest."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from imagemill.domain.failures import FailureCode, PermanentError, TransientError
from imagemill.http import Deadline, GuardedClient, HttpSettings
from imagemill.http.names import Lookups, RememberedNames
from tests.support.eventually import eventually
from tests.support.fence import Fence
from tests.support.picture_server import PictureServer, picture

SETTINGS = HttpSettings(allow_nets=(ip_network("127.0.0.0/8"),))


class Registry(AbstractResolver):
    """Answers what it was told to, counts, and can be made to wait."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[str] | Exception] = {}
        self.open = asyncio.Event()
        self.open.set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        await self.open.wait()
        answer = self.answers.get(host, ["127.0.0.1"])
        if isinstance(answer, Exception):
            raise answer
        return [address(text, host, port) for text in answer]

    async def close(self) -> None:
        """Nothing is held."""


def address(text: str, host: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return ResolveResult(hostname=host, host=text, port=port, family=family, proto=0, flags=0)


class Clock:
    """The loop's time, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def names(registry: Registry) -> AsyncIterator[RememberedNames]:
    names = RememberedNames(registry, replace(SETTINGS, dns_cache_names=3))
    yield names
    await names.close()


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock)
    return clock


async def test_a_name_is_asked_once_for_all_who_want_it_at_once(names: RememberedNames, registry: Registry) -> None:
    registry.open.clear()
    lookups = [asyncio.create_task(names.resolve("a.test", port)) for port in (80, 443, 8080)]
    await eventually(lambda: registry.asked)
    lookups[0].cancel()
    registry.open.set()

    _, second, third = await asyncio.gather(*lookups, return_exceptions=True)

    assert registry.asked == ["a.test"]
    assert isinstance(second, list)
    assert isinstance(third, list)
    assert [(found["host"], found["port"]) for found in (*second, *third)] == [("127.0.0.1", 443), ("127.0.0.1", 8080)]


async def test_addresses_are_remembered_for_a_minute_whatever_the_case_of_the_name(
    names: RememberedNames, registry: Registry, clock: Clock
) -> None:
    await names.resolve("a.test", 80)
    clock.now += 59.9
    await names.resolve("A.Test", 81)
    assert registry.asked == ["a.test"]

    clock.now += 0.2
    await names.resolve("a.test", 80)

    assert registry.asked == ["a.test", "a.test"]


async def test_that_a_name_is_unknown_is_remembered_until_the_first_quick_retry(
    names: RememberedNames, registry: Registry, clock: Clock
) -> None:
    registry.answers["a.test"] = socket.gaierror(socket.EAI_NONAME, "unknown")
    for _ in range(1000):
        with pytest.raises(socket.gaierror) as caught:
            await names.resolve("a.test", 80)
        assert caught.value.errno == socket.EAI_NONAME
    assert registry.asked == ["a.test"]

    clock.now += 1.0
    registry.answers["a.test"] = ["127.0.0.1"]

    assert len(await names.resolve("a.test", 80)) == 1


async def test_a_refusal_is_remembered_like_the_addresses_it_is_about(
    names: RememberedNames, registry: Registry
) -> None:
    registry.answers["a.test"] = PermanentError(FailureCode.ADDRESS_DENIED, "a.test is private.")
    errors = []
    for _ in range(2):
        with pytest.raises(PermanentError) as caught:
            await names.resolve("a.test", 80)
        errors.append(caught.value)

    assert registry.asked == ["a.test"]
    assert errors[0] is not errors[1]
    assert errors[0].failure == errors[1].failure


async def test_the_names_unused_for_longest_are_forgotten(names: RememberedNames, registry: Registry) -> None:
    for host in ("a.test", "b.test", "c.test", "a.test", "d.test"):
        await names.resolve(host, 80)
    registry.asked.clear()

    for host in ("a.test", "c.test", "d.test", "b.test"):
        await names.resolve(host, 80)

    assert registry.asked == ["b.test"]


async def test_of_each_ip_version_two_addresses_are_tried(names: RememberedNames, registry: Registry) -> None:
    registry.answers["a.test"] = ["::1", "::2", "::3", "127.0.0.1", "127.0.0.2", "127.0.0.3"]

    found = await names.resolve("a.test", 80)

    assert [address["host"] for address in found] == ["::1", "::2", "127.0.0.1", "127.0.0.2"]


async def test_closing_ends_what_is_being_asked(registry: Registry) -> None:
    names = RememberedNames(registry, SETTINGS)
    registry.open.clear()
    lookup = asyncio.create_task(names.resolve("a.test", 80))
    await eventually(lambda: registry.asked)

    await names.close()

    with pytest.raises(asyncio.CancelledError):
        await lookup


@pytest.fixture
def mute(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """A name server that answers nobody until the test ends; called, it says how many wait."""
    waiting: list[str] = []
    end = threading.Event()
    fenced = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if not host.endswith(".mute.test"):
            return fenced(host, *arguments, **options)
        waiting.append(host)
        end.wait(timeout=30.0)
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield lambda: len(waiting)
    end.set()


async def test_a_name_server_that_does_not_answer_is_a_trouble_of_names(mute: Callable[[], int]) -> None:
    async with GuardedClient(replace(SETTINGS, dns_timeout_s=0.1)) as client:
        with pytest.raises(TransientError) as caught:
            async with Deadline(10.0) as deadline, client.get("http://a.mute.test/a.jpg", deadline):
                pass

    assert caught.value.failure.code is FailureCode.DNS_FAILED
    assert "no name server" in caught.value.failure.message
    assert mute() == 1


async def test_names_that_nobody_answers_do_not_hold_up_the_others(
    mute: Callable[[], int], server: PictureServer, fence: Fence
) -> None:
    fence.names["pictures.test"] = [["127.0.0.1"]]
    server.route("/a.jpg", picture(b"x"))
    async with GuardedClient(SETTINGS) as client:

        async def get(url: str) -> int:
            async with Deadline(30.0) as deadline, client.get(url, deadline) as answer:
                return answer.status

        lost = [asyncio.create_task(get(f"http://{number}.mute.test/")) for number in range(40)]
        await eventually(lambda: mute() == 40)

        assert await get(server.url("/a.jpg", "pictures.test")) == 200

        for task in lost:
            task.cancel()
        await asyncio.gather(*lost, return_exceptions=True)


async def test_no_more_threads_wait_for_name_servers_than_allowed(mute: Callable[[], int]) -> None:
    lookups = Lookups(at_once=3)
    asked = [asyncio.create_task(lookups.rows(f"{number}.mute.test", 80, socket.AF_UNSPEC, 0.2)) for number in range(8)]

    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert mute() == 3
    assert {answer.errno for answer in answers if isinstance(answer, socket.gaierror)} == {socket.EAI_AGAIN}
    assert len(answers) == 8


async def test_when_no_thread_can_be_had_the_name_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lookups = Lookups(at_once=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(socket.gaierror) as caught:
            await lookups.rows("localhost", 80, socket.AF_INET, 1.0)

    assert caught.value.errno == socket.EAI_AGAIN
    assert await lookups.rows("localhost", 80, socket.AF_INET, 1.0)
