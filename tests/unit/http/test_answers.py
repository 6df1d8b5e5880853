from __future__ import annotations

from email.utils import formatdate

import httpx
import pytest

from imagemill.domain.failures import FailureCode, PermanentError, TransientError
from imagemill.http import Answer
from imagemill.http.answers import failure_of, retry_after_s

NOW = 1_800_000_000.0


def answer(status: int, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, httpx.Headers(named), "http://h.test/", httpx.ByteStream(b""))


@pytest.mark.parametrize("status", [200, 201, 203, 204])
def test_a_success_is_no_failure(status: int) -> None:
    assert failure_of(answer(status), NOW) is None


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (206, FailureCode.CONTENT_TRUNCATED, TransientError),
        (304, FailureCode.SOURCE_REFUSED, PermanentError),
        (400, FailureCode.SOURCE_REFUSED, PermanentError),
        (401, FailureCode.SOURCE_FORBIDDEN, PermanentError),
        (402, FailureCode.SOURCE_FORBIDDEN, PermanentError),
        (403, FailureCode.SOURCE_FORBIDDEN, PermanentError),
        (404, FailureCode.SOURCE_NOT_FOUND, PermanentError),
        (407, FailureCode.SOURCE_FORBIDDEN, PermanentError),
        (408, FailureCode.SOURCE_REFUSED, TransientError),
        (410, FailureCode.SOURCE_NOT_FOUND, PermanentError),
        (418, FailureCode.SOURCE_REFUSED, PermanentError),
        (425, FailureCode.SOURCE_REFUSED, TransientError),
        (429, FailureCode.SOURCE_RATE_LIMITED, TransientError),
        (451, FailureCode.SOURCE_FORBIDDEN, PermanentError),
        (500, FailureCode.SOURCE_SERVER_ERROR, TransientError),
        (501, FailureCode.SOURCE_SERVER_ERROR, PermanentError),
        (503, FailureCode.SOURCE_SERVER_ERROR, TransientError),
        (505, FailureCode.SOURCE_SERVER_ERROR, PermanentError),
        (522, FailureCode.SOURCE_SERVER_ERROR, TransientError),
    ],
)
def test_each_status_has_its_code_and_says_whether_to_try_again(
    status: int, code: FailureCode, kind: type[Exception]
) -> None:
    failure = failure_of(answer(status), NOW)

    assert type(failure) is kind
    assert failure is not None
    assert (failure.failure.code, failure.failure.http_status) == (code, status)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("9" * 400, 365 * 86400.0),
        (formatdate(NOW + 90, usegmt=True).replace("GMT", "-0000"), 90.0),
        ("Friday, 15-Jan-27 08:01:30 GMT", 90.0),
        ("Fri Jan 15 08:01:30 2027", 90.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 365 * 86400.0),
        ("\N{ARABIC-INDIC DIGIT THREE}", None),
        ("Mon, 99 Foo 2020 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


def test_the_servers_wish_travels_with_the_failure() -> None:
    failure = failure_of(answer(429, Retry_After="30"), NOW)

    assert isinstance(failure, TransientError)
    assert failure.retry_after == 30.0
