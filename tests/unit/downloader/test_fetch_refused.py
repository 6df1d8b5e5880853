"""Files of formats that are not rendered: given up at their first bytes, or downloaded whole to be put aside."""

from __future__ import annotations

import hashlib
import io

import pytest

from downloader_svc.fetch import FetchLimits, fetch
from imagemill.domain.failures import FailureCode, PermanentError, PipelineError
from imagemill.http import GuardedClient
from tests.support.picture_server import PictureServer, Reply, cut, html, picture
from tests.unit.downloader.trying import JPEG, content

HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(range(256)) * 3000
WORDS = b"no format that anybody knows " * 20_000


@pytest.mark.parametrize(
    ("body", "code", "extension"),
    [(HEIC, FailureCode.FORMAT_UNSUPPORTED, "heic"), (WORDS, FailureCode.NOT_AN_IMAGE, "")],
)
async def test_a_refused_file_comes_whole_when_it_is_to_be_kept(
    body: bytes, code: FailureCode, extension: str, server: PictureServer, client: GuardedClient, sink: io.FileIO
) -> None:
    url = server.route("/a.jpg", picture(body, "image/jpeg"))

    fetched = await fetch(client, url, sink, keep_refused=True)

    assert fetched.refusal is not None
    assert (fetched.refusal.code, fetched.refusal.http_status) == (code, 200)
    assert (fetched.format, fetched.warnings) == (extension, ())
    assert content(sink, fetched) == body
    assert fetched.sha256 == hashlib.sha256(body).hexdigest()


async def test_a_picture_is_not_refused(server: PictureServer, client: GuardedClient, sink: io.FileIO) -> None:
    fetched = await fetch(client, server.route("/a.jpg", picture(JPEG)), sink, keep_refused=True)

    assert (fetched.refusal, fetched.format) == (None, "jpeg")


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (html(), FailureCode.CONTENT_IS_HTML),
        (picture(b""), FailureCode.CONTENT_EMPTY),
        (picture(HEIC[:90]), FailureCode.CONTENT_TOO_SMALL),
        (picture(HEIC), FailureCode.CONTENT_TOO_LARGE),
        (cut(HEIC[:400_000], 5000), FailureCode.CONTENT_TRUNCATED),
    ],
)
async def test_what_is_wrong_otherwise_fails_as_ever(
    reply: Reply, code: FailureCode, server: PictureServer, client: GuardedClient, sink: io.FileIO
) -> None:
    url = server.route("/a.jpg", reply)
    limits = FetchLimits(max_bytes=500_000, quick_retries=0)

    with pytest.raises(PipelineError) as raised:
        await fetch(client, url, sink, limits, keep_refused=True)

    assert raised.value.failure.code is code


async def test_a_refused_file_that_is_not_kept_is_given_up_at_its_first_bytes(
    server: PictureServer, client: GuardedClient, sink: io.FileIO
) -> None:
    with pytest.raises(PermanentError) as raised:
        await fetch(client, server.route("/a.jpg", picture(HEIC)), sink)

    assert raised.value.failure.code is FailureCode.FORMAT_UNSUPPORTED
    assert "HEIC" in raised.value.failure.message
