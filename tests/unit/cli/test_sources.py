"""The reader of lists: every line that names a picture, whatever wrote the file."""

from __future__ import annotations

import errno
import gzip
import io
import os
import threading
from contextlib import closing
from pathlib import Path

import pytest

from imagemill.cli.exits import CommandError
from imagemill.cli.sources import LONGEST_LINE, ListFile, SourceLine, SpooledInput, open_sources, survey
from imagemill.domain.failures import PermanentError
from imagemill.domain.sources import validate_url


def lines_of(path: Path, content: bytes) -> list[tuple[int, str]]:
    path.write_bytes(content)
    return [(line.row, line.text) for line in ListFile(path).lines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "urls.txt"


@pytest.mark.parametrize(
    "content",
    [
        b"http://a/1\n\n# note\n  http://a/2  \n",
        b"http://a/1\r\n\r\n# note\r\nhttp://a/2\r\n",
        b"http://a/1\r\r# note\rhttp://a/2",
        b"\xef\xbb\xbfhttp://a/1\n\n  # note\nhttp://a/2",
        "http://a/1\r\n\r\n# note\r\nhttp://a/2\r\n".encode("utf-16"),
    ],
    ids=["unix", "windows", "old mac", "byte order mark", "utf-16"],
)
def test_comments_and_blank_lines_are_left_out_and_rows_counted(path: Path, content: bytes) -> None:
    assert lines_of(path, content) == [(1, "http://a/1"), (4, "http://a/2")]


def test_names_outside_ascii_are_read_as_utf_8(path: Path) -> None:
    assert lines_of(path, "http://a/é.jpg\n".encode()) == [(1, "http://a/é.jpg")]


def test_undecodable_bytes_make_a_bad_item_of_their_line_only(path: Path) -> None:
    (first, second) = lines_of(path, b"http://a/caf\xe9.jpg\nhttp://a/2.jpg\n")

    assert second == (2, "http://a/2.jpg")
    with pytest.raises(PermanentError, match="percent-encoded"):
        validate_url(first[1])


def test_an_endless_line_is_cut_and_the_next_one_is_whole(path: Path) -> None:
    read = lines_of(path, b"http://a/" + b"x" * 300_000 + b"\nhttp://a/2\n")

    assert [(row, len(text)) for row, text in read] == [(1, LONGEST_LINE), (2, 10)]
    with pytest.raises(PermanentError):
        validate_url(read[0][1])


def test_a_list_is_read_again_from_its_start(path: Path) -> None:
    path.write_bytes(b"http://a/1\n")
    sources = ListFile(path)

    assert list(sources.lines()) == list(sources.lines()) == [SourceLine(1, "http://a/1")]


def test_standard_input_is_kept_and_leaves_no_file(tmp_path: Path) -> None:
    with closing(SpooledInput(io.BytesIO(b"http://a/1\nhttp://a/2\n"), tmp_path)) as sources:
        assert list(sources.lines()) == list(sources.lines())
        assert [line.text for line in sources.lines()] == ["http://a/1", "http://a/2"]
        assert list(tmp_path.iterdir()) == []


class Torn(io.BytesIO):
    """A stream that breaks."""

    def read(self, _size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize(("stream", "folder"), [(Torn(), "."), (io.BytesIO(b"http://a/1\n"), "missing")])
def test_standard_input_that_cannot_be_kept_is_told_of(tmp_path: Path, stream: io.BytesIO, folder: str) -> None:
    with pytest.raises(CommandError, match=f"standard input can't be kept in {tmp_path / folder} while it is read: "):
        open_sources(["-"], lambda: tmp_path / folder, stream)


def test_arguments_that_are_urls_are_the_list(tmp_path: Path) -> None:
    sources = open_sources(["https://a/1", "HTTP://a/2"], lambda: tmp_path)

    assert [(line.row, line.text) for line in sources.lines()] == [(0, "https://a/1"), (0, "HTTP://a/2")]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Say what to fetch"),
        (["nowhere.txt"], r"There is no file nowhere\.txt"),
        (["."], "is a folder"),
        (["https://a/1", "urls.txt"], "'urls.txt' is not a URL"),
        ([""], "Say what to fetch"),
        (["https://a/1", ""], "Say what to fetch"),
    ],
)
def test_arguments_that_name_no_list_are_refused(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        open_sources(arguments, lambda: tmp_path)


def test_a_survey_counts_and_tells_lists_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("http://a/1\nhttp://a/2\n")
    two.write_text("http://a/1\nhttp://a/3\n")

    assert survey(ListFile(one)).lines == 2
    assert survey(ListFile(one)).digest != survey(ListFile(two)).digest


def test_the_same_list_with_other_line_ends_is_the_same_list(tmp_path: Path) -> None:
    unix, windows = tmp_path / "unix.txt", tmp_path / "windows.txt"
    unix.write_bytes(b"http://a/1\nhttp://a/2\n")
    windows.write_bytes(b"\xef\xbb\xbfhttp://a/1\r\nhttp://a/2")

    assert survey(ListFile(unix)) == survey(ListFile(windows))


def test_a_list_with_one_url_among_strange_lines_is_a_list(path: Path) -> None:
    path.write_text("what\nhttp://a/1\n")

    assert survey(ListFile(path)).lines == 2


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n"])
def test_an_empty_list_is_refused(path: Path, content: str) -> None:
    path.write_text(content)

    with pytest.raises(CommandError, match="holds no URL"):
        survey(ListFile(path))


def test_a_list_in_which_nothing_looks_like_a_url_is_quoted_and_refused(path: Path) -> None:
    path.write_bytes(b"id,name\n1,\x1b[31mred\n" + b"2,blue\n" * 5000)

    with pytest.raises(CommandError) as caught:
        survey(ListFile(path))

    assert "line 1: id,name\n  line 2: 1,\N{REPLACEMENT CHARACTER}[31mred" in caught.value.message
    assert "one http:// or https:// URL per line" in caught.value.message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (gzip.compress(b"http://a/1\n" * 50), "compressed file (gzip)"),
        (b"PK\x03\x04\x14\x00\x06\x00", "ZIP archive"),
        ("http://a/1\r\nhttp://a/2\r\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("http://a/1\r\nhttp://a/2\r\n".encode("utf-16-be"), "UTF-16 without a byte order mark"),
        (b'{"url": "https://a/1"}\n{"url": "https://a/2"}\n', "JSON"),
        (b'\xef\xbb\xbf["https://a/1", "https://a/2"]\n', "JSON"),
    ],
    ids=["gzip", "zip", "utf-16-le", "utf-16-be", "json lines", "json array"],
)
def test_a_list_of_another_kind_is_refused_by_its_name(path: Path, content: bytes, complaint: str) -> None:
    path.write_bytes(content)

    with pytest.raises(CommandError) as caught:
        survey(ListFile(path))

    assert complaint in caught.value.message
    assert caught.value.message.isascii()
    assert "It begins with" not in caught.value.message


def test_a_pipe_given_as_a_file_is_kept_and_read_twice(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"http://a/1\nhttp://a/2\n",))
    writer.start()

    with closing(open_sources([str(pipe)], lambda: tmp_path)) as sources:
        writer.join(5)

        assert sources.name == str(pipe)
        assert (
            list(sources.lines()) == list(sources.lines()) == [SourceLine(1, "http://a/1"), SourceLine(2, "http://a/2")]
        )
