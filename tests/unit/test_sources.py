from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.domain.failures import FailureCode, PermanentError
from imagemill.domain.sources import LONGEST_STEM, LONGEST_URL, host_of, stem_of, validate_url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com/a.jpg?x=%7e&y=%2F#top",
        "HTTP://EXAMPLE.COM/A",
        "http://bücher.example/ü.jpg",
        "http://[2001:db8::1]:8080/a",
        "http://user.example:65535/a@b",
        "http://192.0.2.1/a",
    ],
)
def test_a_good_url_comes_back_as_it_was_written(url: str) -> None:
    assert validate_url(f"  {url}\n") == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("ftp://example.com/a.jpg", "'ftp' is not a scheme"),
        ("data:image/png;base64,iVBORw0", "'data' is not a scheme"),
        ("javascript:alert(1)", "'javascript' is not a scheme"),
        ("example.com/a.jpg", "does not look like a URL"),
        ("localhost:8080/a.jpg", "does not look like a URL"),
        ("//example.com/a.jpg", "does not look like a URL"),
        ("just words", "does not look like a URL"),
        ("http:/example.com/a.jpg", "slashes are missing"),
        ("http://", "no host"),
        ("http:///a.jpg", "no host"),
        ("http://:80/", "no host"),
        ("http://./a.jpg", "no host"),
        ("http://me:secret@example.com/", "user name or password"),
        ("http://example.com:99999/", "port"),
        ("http://example.com:0/", "Port 0"),
        ("http://example.com:abc/", "port"),
        ("http://[::1/", "IPv6"),
        ("http://exa mple.com/", "space"),
        ("http://example.com/a\tb", "control character"),
        ("http://example.com/a\x00b", "control character"),
        ("http://example.com/a\ud800b", "control character"),
        ("http://example.com\\@127.0.0.1/", "user name"),
        ("http://exa%6dple.com/", "no host name can have"),
        ("http://" + "a" * 64 + ".example/", "63 characters"),
        ("http://example.com/" + "a" * LONGEST_URL, "characters, more than"),
    ],
)
def test_a_bad_url_is_refused_with_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(PermanentError) as caught:
        validate_url(text)

    assert caught.value.failure.code is FailureCode.SOURCE_INVALID
    assert reason in caught.value.failure.message
    assert "secret" not in caught.value.failure.message


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("HTTPS://Pictures.Example:8443/A.jpg", "pictures.example"),
        ("http://[2001:DB8::1]:80/", "2001:db8::1"),
        ("http://192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_host_is_named_in_lower_case_without_its_port(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("url", "stem"),
    [
        ("http://h.example/a/red%20shoe.JPG?w=1", "red-shoe"),
        ("http://h.example/a/photo", "photo"),
        ("http://h.example/a/gallery/", "gallery"),
        ("http://h.example/", "image"),
        ("http://h.example", "image"),
        ("http://h.example/.hidden.png", "hidden"),
        ("http://h.example/--x  --y.png".replace(" ", "%20"), "x-y"),
        ("http://h.example/..%2F..%2Fetc%2Fpasswd", "etc-passwd"),
        ("http://h.example/%E4%B8%AD%E6%96%87.jpg", "image"),
        ("http://h.example/%00%0a.jpg", "image"),
        ("http://h.example/" + "long" * 40 + ".jpeg", ("long" * 40)[:LONGEST_STEM]),
    ],
)
def test_a_stem_reads_like_the_last_part_of_the_path(url: str, stem: str) -> None:
    assert stem_of(url) == stem


@given(st.text())
def test_whatever_the_path_says_the_stem_is_a_safe_file_name(path: str) -> None:
    stem = stem_of("http://h.example/" + path)

    assert re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{LONGEST_STEM - 1}}}", stem)


@given(st.text())
def test_whatever_the_line_says_it_is_a_url_or_refused(text: str) -> None:
    try:
        url = validate_url("http://" + text)
    except PermanentError:
        return

    assert host_of(url)
    assert url == ("http://" + text).strip()
