"""What a server's status and headers mean for the one who asked."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError, TransientError
from imagemill.http.client import Answer

_LASTING_5XX = (501, 505)
"""The server lacks what the request needs; asking again can't give it that (RFC 9110, 15.6.2 and 15.6.6)."""
_TRY_LATER_4XX = (408, 425)
_SECONDS = re.compile(r"[0-9]+")
_LONGEST_WISH_S = 365 * 86400.0
"""What a server asks for beyond a year is a slip; no wait is that long, so it need not be told apart."""
_WORTH_TELLING_S = 60.0


def failure_of(answer: Answer, now_s: float) -> PipelineError | None:
    """Return what an answer without a usable body means, or None for a success.

    `now_s` is the wall clock in Unix seconds, against which a `Retry-After` date counts.
    """
    status = answer.status
    if status == 206:
        return TransientError(
            FailureCode.CONTENT_TRUNCATED,
            "The server sent a part of the picture only, which nobody asked for; try again later.",
            http_status=status,
        )
    if 200 <= status < 300:
        return None
    if status in _TRY_LATER_4XX or status == 429 or (status >= 500 and status not in _LASTING_5XX):
        return _try_later(status, retry_after_s(answer.headers.get("Retry-After", ""), now_s))
    code, message = _lasting(status)
    return PermanentError(code, message, http_status=status)


def retry_after_s(value: str, now_s: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, as a number or a date (RFC 9110, 10.2.3).

    A date in the past is no wait; nothing is longer than a year. None when it is neither number nor date.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), _LONGEST_WISH_S)
    try:
        moment = parsedate_to_datetime(value)
        # Of the three forms of a date in HTTP one names no zone; all mean UTC (RFC 9110, 5.6.7).
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now_s
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), _LONGEST_WISH_S)


def _try_later(status: int, retry_after: float | None) -> TransientError:
    if status == 429:
        code, message = FailureCode.SOURCE_RATE_LIMITED, f"The server asks for fewer requests (status {status})"
        advice = "try again later, with fewer connections to it."
    elif status >= 500:
        code, message = FailureCode.SOURCE_SERVER_ERROR, f"The server has trouble of its own (status {status})"
        advice = "try again later."
    else:
        code, message = FailureCode.SOURCE_REFUSED, f"The server asks to come back another time (status {status})"
        advice = "try again later."
    wish = f", and to wait for {_long(retry_after)}" if retry_after and retry_after > _WORTH_TELLING_S else ""
    return TransientError(code, f"{message}{wish}; {advice}", http_status=status, retry_after=retry_after)


def _long(seconds: float) -> str:
    """Say a long wait in the unit that suits it."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"


def _lasting(status: int) -> tuple[FailureCode, str]:
    if status in (404, 410):
        return FailureCode.SOURCE_NOT_FOUND, f"The server has nothing at this URL (status {status}); correct the URL."
    if status in (401, 402, 403, 407, 451):
        return FailureCode.SOURCE_FORBIDDEN, (
            f"The server does not give this to everyone (status {status}); a signed link may have expired."
        )
    if status >= 500:
        return (
            FailureCode.SOURCE_SERVER_ERROR,
            f"The server can't serve such a request (status {status}); tell its owner.",
        )
    if status < 400:
        return FailureCode.SOURCE_REFUSED, f"The server sent no picture but status {status}; open the URL in a browser."
    return FailureCode.SOURCE_REFUSED, (
        f"The server refuses the request (status {status}); open the URL in a browser to see what it expects."
    )
