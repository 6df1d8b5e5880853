from __future__ import annotations

import unicodedata

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
        "http://example.com./a.jpg",
        "http://xn--bcher-kva.example/a.jpg",
        "http://xn--i-7iq.ws/",
        "http://example.com/w_100,h_50;c/a.jpg,b.jpg",
        "http://" + "a234567." * 31 + "abcde/",
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
        ("http://example.com/a\tb", "as %09"),
        ("http://example.com/a.jpg\tred boat", "one URL per line, no other columns"),
        ("http://example.com/a.jpg red boat", "one URL per line, no other columns"),
        ("http://example.com/a.jpg, red boat", "one URL per line, no other columns"),
        ("http://example.com/a.jpg;red boat", "one URL per line, no other columns"),
        ("http://example.com/a; b", "one URL per line, no other columns"),
        ("http://example.com/red boat.jpg", "holds a space; write it as %20"),
        ("12,http://example.com/a.jpg", "more than a URL; write one URL per line"),
        ("boat http://example.com/a.jpg", "more than a URL; write one URL per line"),
        ('"http://example.com/a.jpg"', "no quotation marks"),
        ("<http://example.com/a.jpg>", "more than a URL"),
        ("http://example.com/caf\x1a.jpg", "bytes that are not UTF-8; write them percent-encoded"),
        ("http://xn--/a.jpg", "'xn--'"),
        ("http://a.XN--bcher-.example/a.jpg", "'xn--'"),
        ("http://xn--99999999/a.jpg", "'xn--'"),
        ("http://xn--ü/a.jpg", "'xn--'"),
        ("http://a..example/", "missing between two dots"),
        ("http://.example/", "missing between two dots, or before the first"),
        ("http://" + "a234567." * 32 + "/", "253 characters"),
        ("http://example.com/a\x00b", "control character"),
        ("http://example.com/a\ud800b", "control character"),
        ("http://example.com\\@127.0.0.1/", "user name"),
        ("http://exa%6dple.com/", "no host name can have"),
        ("http://" + "a" * 64 + ".example/", "63 characters"),
        ("http://example.com/" + "a" * LONGEST_URL, "bytes, more than"),
        ("http://example.com/" + "ü" * (LONGEST_URL // 2), "bytes, more than"),
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
        ("http://h.example/%E4%B8%AD%E6%96%87.jpg", "中文"),
        ("http://h.example/Žluťoučký kůň_№1.png".replace(" ", "%20"), "Žluťoučký-kůň_-1"),
        ("http://h.example/हिन्दी-२.jpg", "हिन्दी-२"),
        ("http://h.example/u%CC%88.jpg", "ü"),
        ("http://h.example/%E2%9D%A4%EF%B8%8F.jpg", "image"),
        ("http://h.example/red\u2764\ufe0f\U0001f600boat.jpg", "red-boat"),
        ("http://h.example/gpj\u202etxt\u200b.exe.jpg", "gpj-txt-.exe"),
        ("http://h.example/a\uff0fb\u3000c\u3164d.jpg", "a-b-cd"),
        ("http://h.example/%CC%88a.jpg", "a"),
        ("http://h.example/" + "語" * 80 + ".jpg", "語" * 40),
        ("http://h.example/a" + "語" * 80 + ".jpg", "a" + "語" * 39),
        ("http://h.example/%00%0a.jpg", "image"),
        ("http://h.example/" + "long" * 40 + ".jpeg", ("long" * 40)[:LONGEST_STEM]),
    ],
)
def test_a_stem_reads_like_the_last_part_of_the_path(url: str, stem: str) -> None:
    assert stem_of(url) == stem


@given(st.text())
def test_whatever_the_path_says_the_stem_is_a_safe_file_name(path: str) -> None:
    stem = stem_of("http://h.example/" + path)

    assert 0 < len(stem.encode()) <= LONGEST_STEM
    assert stem.strip(".-") == stem
    assert "--" not in stem
    assert {unicodedata.category(character)[0] for character in stem if character not in "._-"} <= set("LMN")
    assert unicodedata.is_normalized("NFC", stem)


@given(st.text())
def test_whatever_the_line_says_it_is_a_url_or_refused(text: str) -> None:
    for line in (text, "http://" + text, "http://xn--" + text):
        verdict = verdict_on(line)

        assert verdict == FailureCode.SOURCE_INVALID or (verdict == line.strip() and host_of(verdict))


def verdict_on(line: str) -> str:
    try:
        return validate_url(line)
    except PermanentError as error:
        return error.failure.code
