"""Answers of servers, byte by byte: a download ends as a picture or as one failure, and the next is none the worse."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader_svc.fetch import Fetched, fetch
from imagemill.domain.failures import FAMILY_OF, Family, PipelineError
from imagemill.http import GuardedClient
from tests.fuzz.effort import TALLY, cases
from tests.fuzz.mutations import damage, damaged
from tests.fuzz.originals import originals
from tests.support.fence import fenced
from tests.support.picture_server import PictureServer, Reply, picture
from tests.unit.downloader.trying import LIMITS, SETTINGS

PICTURE = originals("jpeg")["baseline"]
LENGTH = b"Content-Length: %d\r\n"
CHUNKS = b"%x;name=value\r\n%b\r\n%x\r\n%b\r\n0\r\nTrailer: x\r\n\r\n"


def _answer(head: bytes, body: bytes, *, counted: bool = True) -> bytes:
    return b"HTTP/1.1 " + head + (LENGTH % len(body) if counted else b"") + b"\r\n" + body


OK = b"200 OK\r\nContent-Type: image/jpeg\r\n"
ANSWERS = {
    "counted": _answer(OK, PICTURE),
    "uncounted": _answer(OK, PICTURE, counted=False),
    "chunked": _answer(
        OK + b"Transfer-Encoding: chunked\r\n",
        CHUNKS % (100, PICTURE[:100], len(PICTURE) - 100, PICTURE[100:]),
        counted=False,
    ),
    "gzip": _answer(OK + b"Content-Encoding: gzip\r\n", gzip.compress(PICTURE, mtime=0)),
    "deflate": _answer(OK + b"Content-Encoding: deflate\r\n", zlib.compress(PICTURE)),
    "redirect": _answer(b"302 Found\r\nLocation: /good.jpg\r\nSet-Cookie: a=b\r\n", b"gone"),
    "elsewhere": _answer(b"308 Moved\r\nLocation: http://a.example/\xc3\xa9 b?x=%00\r\n", b""),
    "later": _answer(b"503 Busy\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n", b"busy"),
    "limited": _answer(b"429 Slow Down\r\nRetry-After: 3\r\n", b"busy"),
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + _answer(OK, PICTURE),
    "old": b"HTTP/1.0" + _answer(OK, PICTURE, counted=False)[8:],
    "unchanged": _answer(b"304 Not Modified\r\nETag: x\r\n", b"", counted=False),
    "two": _answer(OK, PICTURE) * 2,
}


ODD_FIELDS = [
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: +1064",
    b"Content-Length: 1064, 1064",
    b"Content-Length: 99999999999999999999999",
    b"Content-Length: \xb2",
    b"Content-Length:",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Content-Encoding: gzip",
    b"Content-Encoding: deflate",
    b"Content-Encoding: br",
    b"Content-Encoding: gzip, gzip",
    b"Content-Type: text/html; charset=\xff",
    b"Content-Type: \x1b[31m",
    b"Retry-After: 1e400",
    b"Retry-After: " + b"9" * 5000,
    b"Retry-After: -1",
    b"Retry-After: Wed, 99 Foo 99999 99:99:99 GMT",
    b"Location: http://[::1",
    b"Location: //127.0.0.1:0/",
    b"Location: \xff\xfe",
    b"Location: /odd.jpg",
    b"Connection: close, keep-alive",
    b"Connection: upgrade\r\nUpgrade: websocket",
    b" folded",
    b": no name",
    b"no colon",
    b"Name\0: value",
    b"X: " + b"x" * 70_000,
    b"Set-Cookie: a=b; Expires=never; Domain=..",
    b"Date: \x80",
]
STATUSES = [b"200", b"100", b"101", b"103", b"199", b"204", b"206", b"226", b"301", b"304", b"307", b"399"]
STATUSES += [
    b"404",
    b"407",
    b"408",
    b"416",
    b"426",
    b"429",
    b"451",
    b"503",
    b"599",
    b"600",
    b"999",
    b"000",
    b"2000",
    b"-1",
]


@pytest.fixture(autouse=True)
def _fence() -> Iterator[None]:
    with fenced():
        yield


class Downloads:
    """A server that answers what it is told, and a client that keeps its connections from case to case."""

    def __init__(self, server: PictureServer, client: GuardedClient, sink: io.FileIO) -> None:
        self._server, self._client, self._sink = server, client, sink
        self._good = server.route("/good.jpg", picture(PICTURE))

    async def of(self, raw: bytes) -> Fetched | PipelineError:
        """Fetch what is answered with `raw`, then a good picture over the same client."""
        outcome: Fetched | PipelineError
        try:
            outcome = await self._fetch(self._server.route("/odd.jpg", Reply(raw=raw)))
        except PipelineError as error:
            outcome = error
        await self._fetch(self._good)
        assert os.pread(self._sink.fileno(), len(PICTURE), 0) == PICTURE
        return outcome

    async def _fetch(self, url: str) -> Fetched:
        # A quick retry would only wait and be answered the same.
        return await fetch(self._client, url, self._sink, replace(LIMITS, quick_retries=0))


def judge(outcome: Fetched | PipelineError) -> None:
    if isinstance(outcome, Fetched):
        TALLY["answers: fetched"] += 1
        assert outcome.size_bytes >= LIMITS.min_bytes
        assert outcome.format in ("jpeg", "png", "gif", "webp", "tiff", "bmp", "avif", "ico")
        assert all(text.isprintable() for text in (outcome.content_type, outcome.final_url, *outcome.warnings))
    else:
        failure = outcome.failure
        TALLY[f"answers: {failure.code}"] += 1
        assert FAMILY_OF[failure.code] in (Family.INPUT, Family.NETWORK, Family.SERVER, Family.CONTENT)
        assert failure.message.isprintable()


def raw_answers(whole: bytes) -> st.SearchStrategy[bytes]:
    """Answers with a field or a status of no good, and such that are damaged anywhere, or behind their first line."""

    def with_fields(fields: list[bytes], status: bytes) -> bytes:
        version, number, rest = whole.split(b" ", 2)
        line, others = rest.split(b"\r\n", 1)
        return b"\r\n".join([b" ".join([version, status or number, line]), *fields, others])

    fields = st.lists(st.sampled_from(ODD_FIELDS), max_size=2)
    body = whole.index(b"\r\n\r\n") + 4
    mutations = st.one_of(damage().map(lambda one: (one,)), st.lists(damage(), max_size=3).map(tuple))
    return st.one_of(
        st.builds(with_fields, fields, st.just(b"") | st.sampled_from(STATUSES)),
        st.builds(lambda chosen: damaged(whole, chosen), mutations),
        st.builds(lambda chosen: whole[:body] + damaged(whole[body:], chosen), mutations),
    )


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_damaged_answer_is_a_picture_or_one_failure(kind: str, tmp_path: Path) -> None:
    with asyncio.Runner() as runner, io.FileIO(tmp_path / "slot", "w+") as sink:
        server, client = PictureServer(), runner.run(_client())
        runner.run(server.__aenter__())
        downloads = Downloads(server, client, sink)

        @cases(40)
        @given(raw_answers(ANSWERS[kind]))
        def fetched(raw: bytes) -> None:
            judge(runner.run(downloads.of(raw)))

        fetched()
        runner.run(client.aclose())
        runner.run(server.__aexit__(None, None, None))


async def _client() -> GuardedClient:
    # What is announced and does not come ends with the connection; only a redirect to a silent host would wait.
    return GuardedClient(replace(SETTINGS, read_timeout_s=2.0, connect_timeout_s=2.0))
