"""Lists of URLs, byte by byte and line by line."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader_svc.fetch import fetch
from imagemill.cli.exits import CommandError
from imagemill.cli.sources import LONGEST_LINE, ListFile, survey
from imagemill.domain.failures import FAMILY_OF, FailureCode, Family, PermanentError, PipelineError
from imagemill.domain.sources import LONGEST_STEM, host_of, stem_of, validate_url
from imagemill.http import GuardedClient, HttpSettings
from tests.fuzz.effort import TALLY, cases
from tests.fuzz.mutations import Mutation, damage, damaged
from tests.support.fence import Fence, fenced
from tests.unit.downloader.trying import LIMITS

LISTS = (
    b"http://a.example/1.jpg\n# a comment\n\nhttps://b.example/two.png?x=1\r\n  http://c.example/%C3%A9\n",
    "http://a.example/äöü.jpg\nhttp://bücher.example/".encode("utf-16"),
    b"\xef\xbb\xbfurl,name\nhttp://a.example/1.jpg,one\n",
    b'{"urls": ["http://a.example/1.jpg"]}',
)
URLS = (
    "http://a.example/1.jpg",
    "https://b.example:8443/x/../y.png?q=%20&r=ä#part",
    "http://xn--bcher-kva.example/%C3%A9.webp",
    "http://[2001:db8::1]:80/a",
    "http://192.0.2.1/a",
    "http://0x7f.1/a",
    "http://[::ffff:192.0.2.1%251]/",
    "http://bücher.example./a b",
    "http://user:secret@a.example/",
)
ODD = st.text(
    st.sampled_from(list("/\\:@?#[]%.-_ \t\0\x1b\u200b\u3002\uff0f\u2100\udc80ßİxn0")) | st.characters(), max_size=8
)


@pytest.fixture
def fence() -> Iterator[Fence]:
    with fenced() as fence:
        yield fence


@cases(300)
@given(st.sampled_from(LISTS), st.lists(damage(), max_size=3).map(tuple))
def test_a_list_of_any_bytes_is_read_line_by_line_or_refused(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, mutations: tuple[Mutation, ...]
) -> None:
    path = _file(tmp_path_factory) / "urls.txt"
    path.write_bytes(damaged(whole, mutations))
    lines, refused = [], ""
    try:
        lines = list(ListFile(path).lines())
        survey(ListFile(path))
    except CommandError as error:
        refused = str(error)
    if refused:
        TALLY["lists: refused"] += 1
        assert all(line.isprintable() for line in refused.split("\n"))
        return
    TALLY["lists: read"] += 1
    rows = [line.row for line in lines]
    assert rows == sorted(set(rows))
    for line in lines:
        assert 0 < len(line.text.encode()) <= 4 * LONGEST_LINE
        assert "\n" not in line.text


@cases(500)
@given(st.sampled_from(URLS), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5), ODD), max_size=3))
def test_a_line_is_a_url_or_a_failed_item(whole: str, edits: list[tuple[int, int, str]]) -> None:
    text = _edited(whole, edits)
    try:
        url = validate_url(text)
    except PermanentError as error:
        TALLY["lines: refused"] += 1
        judge_refusal(error)
        return
    TALLY["lines: taken"] += 1
    url.encode()
    assert url == text.strip()
    assert host_of(url)
    stem = stem_of(url)
    assert 0 < len(stem.encode()) <= LONGEST_STEM
    assert stem.isprintable()
    assert not set(stem) & set("/\\:\0")


def judge_refusal(error: PermanentError) -> None:
    assert error.failure.code is FailureCode.SOURCE_INVALID
    assert error.failure.message.isprintable()


def test_a_line_that_is_taken_can_be_asked_for_and_leads_to_no_other_machine(fence: Fence, tmp_path: Path) -> None:
    # Quick retries would only wait.
    limits = replace(LIMITS, quick_retries=0)

    async def ask(client: GuardedClient, url: str, sink: io.FileIO) -> PipelineError:
        with pytest.raises(PipelineError) as failed:
            await fetch(client, url, sink, limits)
        return failed.value

    with asyncio.Runner() as runner, io.FileIO(tmp_path / "slot", "w+") as sink:
        client = runner.run(_client())

        @cases(300)
        @given(st.sampled_from(URLS), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5), ODD), max_size=2))
        def asked(whole: str, edits: list[tuple[int, int, str]]) -> None:
            try:
                url = validate_url(_edited(whole, edits))
            except PermanentError:
                return
            error = runner.run(ask(client, url, sink))
            TALLY[f"lines asked for: {error.failure.code}"] += 1
            assert FAMILY_OF[error.failure.code] in (Family.INPUT, Family.NETWORK)
            assert error.failure.message.isprintable()

        asked()
        runner.run(client.aclose())
    assert [address for address, _ in fence.dialled if address not in fence.refused] == []


async def _client() -> GuardedClient:
    return GuardedClient(HttpSettings())


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for at, count, odd in edits:
        text = text[:at] + odd + text[at + count :]
    return text


def _file(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "lists"
    folder.mkdir(exist_ok=True)
    return folder
