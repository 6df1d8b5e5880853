"""Sizes and header texts: what is taken, and that it is written as it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.settings.kinds import HeaderText
from imagemill.settings.sizes import ByteSize

SIZE = ByteSize(0, 10**15, "the largest file")
AGENT = HeaderText(40)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (100, 100),
        ("100", 100),
        ("100B", 100),
        ("2kB", 2000),
        ("2KIB", 2048),
        ("100MB", 100_000_000),
        (" 1.5 GiB ", 1_610_612_736),
        ("0.5mb", 500_000),
        ("3gb", 3_000_000_000),
    ],
)
def test_a_size_is_read_with_and_without_its_unit(given: object, size: int) -> None:
    assert SIZE.read(given) == size


@pytest.mark.parametrize(
    "given", ["", "MB", "-1", "1e6", "10 M B", "10TB", "ten", "1,000", "٣MB", 1.5, True, None, [1], "9" * 400]
)
def test_what_is_no_size_is_refused_with_what_is_allowed(given: object) -> None:
    with pytest.raises(ValueError, match="Allowed are 0B to 1000000GB"):
        SIZE.read(given)


@pytest.mark.parametrize("given", ["99B", "1001kB", -1, 10**400])
def test_a_size_out_of_bounds_is_refused_with_the_bounds(given: object) -> None:
    with pytest.raises(ValueError, match=r"^(the largest file; )?give .*100B to 1MB"):
        ByteSize(100, 10**6, "the largest file").read(given)


@given(st.integers(0, 10**15))
def test_a_size_is_written_exactly(size: int) -> None:
    assert SIZE.read(SIZE.write(size)) == size


def test_a_size_is_written_as_people_would() -> None:
    assert [SIZE.write(size) for size in (0, 100, 2048, 100_000_000, 1536 * 2**20)] == [
        "0B",
        "100B",
        "2KiB",
        "100MB",
        "1536MiB",
    ]


@pytest.mark.parametrize("given", ["", "  ", "a\r\nX-Forged: 1", "a\tb", "café", "a" * 41, 3, None, "a\x7fb"])
def test_a_text_that_would_be_another_header_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="give 1 to 40 printable characters of ASCII"):
        AGENT.read(given)


def test_a_header_text_is_taken_without_the_blanks_around_it() -> None:
    assert AGENT.read(" Gallery/2.0 (+https://example.com) ") == "Gallery/2.0 (+https://example.com)"
