from __future__ import annotations

import asyncio
import errno
import gzip
import io
import os
from dataclasses import replace

import pytest

from downloader_svc.fetch import fetch
from imagemill.domain.failures import FailureCode, TransientError
from imagemill.http import GuardedClient
from tests.support.eventually import eventually
from tests.support.picture_server import (
    PictureServer,
    Reply,
    endless,
    gzipped,
    picture,
    slow,
    stalled,
    status,
)
from tests.unit.downloader.trying import JPEG, LIMITS, SETTINGS, Pauses, content, failure


@pytest.mark.parametrize(
    "reply",
    [
        endless(JPEG),
        Reply(JPEG, chunked=True),
        gzipped(JPEG[:4] + bytes(5_000_000)),
        # Padding behind a packed body makes it no longer, and never ends.
        replace(endless(gzip.compress(JPEG[:1000])), headers={"Content-Encoding": "gzip"}),
    ],
)
async def test_what_is_larger_than_announced_is_counted_and_refused(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, pauses: Pauses, reply: Reply
) -> None:
    limits = replace(LIMITS, max_bytes=150_000)

    error = await failure(client, server.route("/a.jpg", reply), sink, pauses, limits)

    assert error.failure.code is FailureCode.CONTENT_TOO_LARGE
    assert "0.15 MB" in error.failure.message
    assert os.fstat(sink.fileno()).st_size <= 150_000


async def test_html_without_end_is_refused_at_its_first_bytes(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, pauses: Pauses
) -> None:
    error = await failure(client, server.route("/a.jpg", endless(b"<!doctype html>" + b" " * 2000)), sink, pauses)

    assert error.failure.code is FailureCode.CONTENT_IS_HTML
    assert os.fstat(sink.fileno()).st_size == 0
    await eventually(lambda: server.open_now == 0)


async def test_a_body_that_stops_is_a_read_timeout(server: PictureServer, sink: io.FileIO, pauses: Pauses) -> None:
    async with GuardedClient(replace(SETTINGS, read_timeout_s=0.1)) as client:
        error = await failure(client, server.route("/a.jpg", stalled(JPEG, 1000)), sink, pauses)

    assert (error.failure.code, type(error)) == (FailureCode.READ_TIMEOUT, TransientError)


async def test_a_body_that_trickles_is_too_slow(server: PictureServer, sink: io.FileIO, pauses: Pauses) -> None:
    settings = replace(SETTINGS, min_bytes_per_s=100_000.0, throughput_window_s=0.2)
    async with GuardedClient(settings) as client:
        error = await failure(client, server.route("/a.jpg", slow(JPEG, 10_000.0)), sink, pauses)

    assert (error.failure.code, type(error)) == (FailureCode.TOO_SLOW, TransientError)


async def test_the_whole_download_has_a_deadline(server: PictureServer, sink: io.FileIO, pauses: Pauses) -> None:
    async with GuardedClient(replace(SETTINGS, total_deadline_s=0.2)) as client:
        error = await failure(client, server.route("/a.jpg", slow(JPEG, 10_000.0)), sink, pauses)

    assert (error.failure.code, type(error)) == (FailureCode.DOWNLOAD_TIMEOUT, TransientError)
    assert "0.2 seconds" in error.failure.message


async def test_a_pause_past_the_deadline_is_not_begun(server: PictureServer, sink: io.FileIO) -> None:
    async with GuardedClient(replace(SETTINGS, total_deadline_s=0.9)) as client:
        with pytest.raises(TransientError) as caught:
            await fetch(client, server.route("/a.jpg", status(503)), sink)

    assert caught.value.failure.code is FailureCode.SOURCE_SERVER_ERROR
    assert server.requests["/a.jpg"] == 1


async def test_a_cancelled_download_leaves_no_connection_in_use(
    client: GuardedClient, server: PictureServer, sink: io.FileIO
) -> None:
    url = server.route("/a.jpg", stalled(JPEG, 5000))
    download = asyncio.create_task(fetch(client, url, sink))
    await eventually(lambda: os.fstat(sink.fileno()).st_size == 5000)

    download.cancel()

    with pytest.raises(asyncio.CancelledError):
        await download
    await eventually(lambda: server.open_now == 0)


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, FailureCode.STORE_FULL), (errno.EIO, FailureCode.STORE_UNAVAILABLE)],
)
async def test_a_sink_that_refuses_is_a_trouble_of_the_store(
    client: GuardedClient,
    server: PictureServer,
    sink: io.FileIO,
    pauses: Pauses,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    code: FailureCode,
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", refuse)

    error = await failure(client, server.route("/a.jpg", picture(JPEG)), sink, pauses)

    assert (error.failure.code, type(error)) == (code, TransientError)
    assert pauses == []


async def test_a_sink_that_takes_less_at_a_time_gets_everything(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:10_000], offset))

    fetched = await fetch(client, server.route("/a.jpg", picture(JPEG)), sink)

    assert content(sink, fetched) == JPEG


async def test_a_bomb_lets_others_run_in_between(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, pauses: Pauses
) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    # The packed bomb is 117 KB and comes in a few pieces; unpacked it is 380.
    bomb = gzipped(JPEG[:4] + bytes(120_000_000))
    others = asyncio.create_task(take_turns())
    error = await failure(client, server.route("/a.jpg", bomb), sink, pauses)
    others.cancel()

    assert error.failure.code is FailureCode.CONTENT_TOO_LARGE
    assert turns >= 300
