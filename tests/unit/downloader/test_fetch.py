from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import time
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate

import pytest

from downloader_svc.fetch import Fetched, Timing, fetch
from imagemill.domain.failures import FailureCode, PermanentError, PipelineError, TransientError
from imagemill.http import GuardedClient
from tests.support.picture_server import (
    PictureServer,
    Reply,
    cut,
    dropped,
    gzipped,
    html,
    lying,
    picture,
    redirect,
    serve_in_thread,
    slow,
    status,
)
from tests.unit.downloader.trying import JPEG, LIMITS, SETTINGS, Pauses, content, failure


async def test_a_picture_arrives_whole_with_its_digest(
    client: GuardedClient, server: PictureServer, sink: io.FileIO
) -> None:
    url = server.route("/a.jpg", picture(JPEG))

    fetched = await fetch(client, url, sink)

    assert content(sink, fetched) == JPEG
    assert fetched == Fetched(
        sha256=hashlib.sha256(JPEG).hexdigest(),
        size_bytes=len(JPEG),
        format="jpeg",
        content_type="image/jpeg",
        http_status=200,
        final_url=url,
        tries=1,
        download_ms=fetched.download_ms,
        warnings=(),
    )
    assert 0 < fetched.download_ms < 10_000


async def test_a_reused_file_is_overwritten_from_its_start_and_not_cut(
    client: GuardedClient, server: PictureServer, sink: io.FileIO
) -> None:
    sink.write(b"old" * 100_000)

    fetched = await fetch(client, server.route("/a.jpg", picture(JPEG)), sink)

    assert content(sink, fetched) == JPEG
    assert os.fstat(sink.fileno()).st_size == 300_000


@pytest.mark.parametrize(
    "reply",
    [
        gzipped(JPEG),
        Reply(gzip.compress(JPEG), headers={"Content-Encoding": "gzip"}, chunked=True),
        Reply(JPEG, chunked=True),
        Reply(JPEG, content_length=None, cut_at=len(JPEG)),
        Reply(JPEG, bytes_per_s=1_000_000.0),
    ],
)
async def test_however_it_is_sent_the_picture_is_the_same(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, reply: Reply
) -> None:
    fetched = await fetch(client, server.route("/a.jpg", reply), sink)

    assert content(sink, fetched) == JPEG
    assert fetched.sha256 == hashlib.sha256(JPEG).hexdigest()


async def test_a_picture_that_comes_in_drops_is_judged_all_the_same(
    client: GuardedClient, server: PictureServer, sink: io.FileIO
) -> None:
    small = JPEG[:300]

    fetched = await fetch(client, server.route("/a.jpg", slow(small, 1000.0)), sink)

    assert (fetched.format, content(sink, fetched)) == ("jpeg", small)


async def test_what_disagrees_with_the_first_bytes_is_a_warning(
    client: GuardedClient, server: PictureServer, sink: io.FileIO
) -> None:
    url = server.route("/a.png", redirect("/b.gif"))
    server.route("/b.gif", picture(JPEG, "image/webp"))

    fetched = await fetch(client, url, sink)

    assert fetched.format == "jpeg"
    assert fetched.final_url == server.url("/b.gif")
    assert len(fetched.warnings) == 2


@pytest.mark.parametrize(
    ("reply", "code", "kind"),
    [
        (status(404), FailureCode.SOURCE_NOT_FOUND, PermanentError),
        (status(403, b"no"), FailureCode.SOURCE_FORBIDDEN, PermanentError),
        (status(418), FailureCode.SOURCE_REFUSED, PermanentError),
        (status(408), FailureCode.SOURCE_REFUSED, TransientError),
        (status(501), FailureCode.SOURCE_SERVER_ERROR, PermanentError),
        (status(204), FailureCode.CONTENT_EMPTY, TransientError),
        (picture(b""), FailureCode.CONTENT_EMPTY, TransientError),
        (html(), FailureCode.CONTENT_IS_HTML, TransientError),
        (picture(b"<html>" + b" " * 50), FailureCode.CONTENT_IS_HTML, TransientError),
        (picture(JPEG[:99]), FailureCode.CONTENT_TOO_SMALL, PermanentError),
        (picture(b"nothing special " * 100), FailureCode.NOT_AN_IMAGE, PermanentError),
        (picture(b"%PDF-1.7 " + bytes(2000)), FailureCode.FORMAT_UNSUPPORTED, PermanentError),
        (cut(JPEG, 100_000), FailureCode.CONTENT_TRUNCATED, TransientError),
        (cut(JPEG, 0), FailureCode.CONTENT_TRUNCATED, TransientError),
        (lying(JPEG, len(JPEG) + 1), FailureCode.CONTENT_TRUNCATED, TransientError),
        (lying(JPEG, 100_000_001), FailureCode.CONTENT_TOO_LARGE, PermanentError),
        (Reply(JPEG, headers={"Content-Encoding": "br"}), FailureCode.CONTENT_ENCODING_INVALID, PermanentError),
        (Reply(JPEG, headers={"Content-Encoding": "gzip"}), FailureCode.CONTENT_ENCODING_INVALID, TransientError),
        (
            Reply(gzip.compress(JPEG)[:-9], headers={"Content-Encoding": "gzip"}),
            FailureCode.CONTENT_TRUNCATED,
            TransientError,
        ),
        (redirect("/a.jpg"), FailureCode.TOO_MANY_REDIRECTS, PermanentError),
        (redirect("gopher://h/"), FailureCode.REDIRECT_INVALID, PermanentError),
        (redirect("http://10.0.0.5/"), FailureCode.ADDRESS_DENIED, PermanentError),
    ],
)
async def test_each_trouble_that_a_quick_retry_would_not_cure_has_its_code(
    client: GuardedClient,
    server: PictureServer,
    sink: io.FileIO,
    pauses: Pauses,
    reply: Reply,
    code: FailureCode,
    kind: type[PipelineError],
) -> None:
    error = await failure(client, server.route("/a.jpg", reply), sink, pauses)

    assert (error.failure.code, type(error)) == (code, kind)
    assert pauses == []


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_a_passing_trouble_is_tried_again_on_the_spot(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, pauses: Pauses, code: int
) -> None:
    url = server.route("/a.jpg", status(code), status(code, b"busy"), picture(JPEG))

    fetched = await fetch(client, url, sink, LIMITS, Timing(pause=pauses))

    assert fetched.tries == 3
    assert pauses == [1.0, 2.0]
    assert content(sink, fetched) == JPEG


async def test_a_trouble_that_lasts_is_left_to_the_queue_after_two_retries(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, pauses: Pauses
) -> None:
    error = await failure(client, server.route("/a.jpg", status(503)), sink, pauses)

    assert isinstance(error, TransientError)
    assert (error.failure.code, error.failure.http_status) == (FailureCode.SOURCE_SERVER_ERROR, 503)
    assert server.requests["/a.jpg"] == 3
    assert pauses == [1.0, 2.0]


async def test_a_server_that_hangs_up_is_tried_again(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, pauses: Pauses
) -> None:
    # Twice: one hang-up on a used connection is repeated below at once, since it may have been idle too long.
    url = server.route("/a.jpg", dropped(), dropped(), picture(JPEG))

    fetched = await fetch(client, url, sink, LIMITS, Timing(pause=pauses))

    assert fetched.tries == 2
    assert pauses == [1.0]


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        ("4", [4.0]),
        ("0", [1.0]),
        (formatdate(1_800_000_003, usegmt=True), [3.0]),
        ("nonsense", [1.0]),
    ],
)
async def test_a_short_wish_of_the_server_is_honoured_on_the_spot(
    client: GuardedClient,
    server: PictureServer,
    sink: io.FileIO,
    pauses: Pauses,
    retry_after: str,
    expected: list[float],
) -> None:
    url = server.route("/a.jpg", status(429, Retry_After=retry_after), picture(JPEG))

    await fetch(client, url, sink, LIMITS, Timing(pause=pauses, wall=lambda: 1_800_000_000.0))

    assert pauses == expected


async def test_a_long_wish_of_the_server_is_left_to_the_queue(
    client: GuardedClient, server: PictureServer, sink: io.FileIO, pauses: Pauses
) -> None:
    error = await failure(client, server.route("/a.jpg", status(429, Retry_After="6")), sink, pauses)

    assert isinstance(error, TransientError)
    assert (error.failure.code, error.retry_after) == (FailureCode.SOURCE_RATE_LIMITED, 6.0)
    assert pauses == []
    assert server.requests["/a.jpg"] == 1


async def test_the_server_in_a_thread_serves_too(client: GuardedClient, sink: io.FileIO) -> None:
    with serve_in_thread() as server:
        fetched = await fetch(client, server.route("/a.jpg", picture(JPEG)), sink)

        assert content(sink, fetched) == JPEG
        assert server.requests["/a.jpg"] == 1


async def test_a_failed_download_tells_how_long_it_took(
    client: GuardedClient, server: PictureServer, sink: io.FileIO
) -> None:
    clock = iter(range(0, 1000, 5))

    with pytest.raises(PermanentError) as caught:
        await fetch(
            client, server.route("/gone", status(404)), sink, timing=Timing(monotonic=lambda: float(next(clock)))
        )

    assert caught.value.download_ms >= 5000.0


async def test_waiting_for_a_turn_at_the_host_is_no_part_of_a_download(server: PictureServer, sink: io.FileIO) -> None:
    url = server.route("/slow.jpg", slow(JPEG, len(JPEG) * 4))
    async with GuardedClient(replace(SETTINGS, connections_per_host=1)) as client:
        with closing(io.FileIO(os.memfd_create("second"), "r+")) as second:
            started = time.monotonic()
            fetched = await asyncio.gather(fetch(client, url, sink), fetch(client, url, second))
            took_ms = (time.monotonic() - started) * 1000.0

    # They follow one another, so together they can't have taken longer than both.
    assert sum(each.download_ms for each in fetched) <= took_ms
