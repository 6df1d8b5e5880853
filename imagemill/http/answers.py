"""What a server's status and headers mean for the one who asked."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError, TransientError
from imagemill.http.client import Answer

_LASTING_5XX = (501, 505)
"""The server lacks what the request needs; asking again can't give it that (RFC 9110, 15.6.2 and 15.6.6)."""
_TRY_LATER_4XX = (408, 425)
_SECONDS = re.compile(r"\d{1,9}")


def failure_of(answer: Answer, now_s: float) -> PipelineError | None:
    """Return what an answer without a usable body means, or None for a success.

    `now_s` is the wall clock in Unix seconds, against which a `Retry-After` date counts.
    """
    status = answer.status
    if status == 206:
        return TransientError(
            FailureCode.CONTENT_TRUNCATED, "The server sent a part of the picture only.", http_status=status
        )
    if 200 <= status < 300:
        return None
    if status in _TRY_LATER_4XX or status == 429 or (status >= 500 and status not in _LASTING_5XX):
        return _try_later(status, retry_after_s(answer.headers.get("Retry-After", ""), now_s))
    code, message = _lasting(status)
    return PermanentError(code, message, http_status=status)


def retry_after_s(value: str, now_s: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, as a number or a date (RFC 9110, 10.2.3)."""
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def _try_later(status: int, retry_after: float | None) -> TransientError:
    if status == 429:
        code, message = FailureCode.SOURCE_RATE_LIMITED, "The server asks for fewer requests (status 429)."
    elif status >= 500:
        code, message = FailureCode.SOURCE_SERVER_ERROR, f"The server has trouble of its own (status {status})."
    else:
        code, message = FailureCode.SOURCE_REFUSED, f"The server asks to try again later (status {status})."
    return TransientError(code, message, http_status=status, retry_after=retry_after)


def _lasting(status: int) -> tuple[FailureCode, str]:
    if status in (404, 410):
        return FailureCode.SOURCE_NOT_FOUND, f"The server has nothing at this URL (status {status})."
    if status in (401, 402, 403, 407, 451):
        return FailureCode.SOURCE_FORBIDDEN, f"The server does not give this to everyone (status {status})."
    if status >= 500:
        return FailureCode.SOURCE_SERVER_ERROR, f"The server can't serve such a request (status {status})."
    return FailureCode.SOURCE_REFUSED, f"The server refuses the request (status {status})."
