"""Every trouble of the network, met by the real downloader on a server that really makes it."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from downloader_svc.fetch import Timing, fetch
from imagemill.domain.failures import PermanentError, PipelineError, TransientError
from imagemill.http import GuardedClient
from tests.support.fence import Fence
from tests.support.trouble_world import World, open_world
from tests.support.troubles import JPEG, NOW, ODDITIES, TROUBLES, Oddity, Trouble
from tests.unit.downloader.trying import SETTINGS, Pauses, content


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with open_world(JPEG) as world:
        yield world


@pytest.fixture
def trusting(world: World) -> ssl.SSLContext:
    context = ssl.create_default_context()
    world.authority.configure_trust(context)
    return context


@pytest.fixture(autouse=True)
def mute_name_server(fence: Fence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers when asked for mute.test; all other names are the fence's."""
    fenced = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if host == "mute.test":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return fenced(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
async def test_each_trouble_has_its_code_its_words_and_its_tries(
    world: World, trusting: ssl.SSLContext, sink: io.FileIO, pauses: Pauses, trouble: Trouble
) -> None:
    settings = replace(SETTINGS, **trouble.patience)  # type: ignore[arg-type]  # they are all figures
    url = trouble.url(world)

    async with GuardedClient(settings, tls=trusting) as client:
        with pytest.raises(PipelineError) as caught:
            await fetch(client, url, sink, timing=Timing(pause=pauses, wall=lambda: NOW))

    failure = caught.value.failure
    assert (failure.code, failure.http_status, failure.tries) == (trouble.code, trouble.status, trouble.tries)
    assert trouble.says in failure.message
    assert failure.message.endswith(".")
    assert type(caught.value) is (PermanentError if trouble.lasting else TransientError)
    assert getattr(caught.value, "retry_after", None) == trouble.retry_after
    assert len(pauses) == trouble.tries - 1


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: oddity.name)
async def test_what_is_only_odd_brings_the_picture(
    client: GuardedClient, world: World, sink: io.FileIO, oddity: Oddity
) -> None:
    fetched = await fetch(client, world.plain.route(oddity.path, oddity.reply), sink)

    assert content(sink, fetched) == JPEG
    assert fetched.tries == 1
    assert len(fetched.warnings) == len(oddity.warnings)
    for warning, words in zip(fetched.warnings, oddity.warnings, strict=True):
        assert words in warning


async def test_a_good_certificate_is_good_enough(world: World, trusting: ssl.SSLContext, sink: io.FileIO) -> None:
    async with GuardedClient(SETTINGS, tls=trusting) as client:
        fetched = await fetch(client, world.secure_url("good"), sink)

    assert content(sink, fetched) == JPEG
