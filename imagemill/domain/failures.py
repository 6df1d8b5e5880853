"""Why an item failed: the stable codes, their families, and the errors that carry them.

    PipelineError
    ├── TransientError   another try may succeed; may carry `retry_after`
    └── PermanentError   no further try can help

A code is part of the public interface: it stands in the manifest, in reports and in `Failure.code` of the
API, and is never renamed. What each means and what to do about it stands in `docs/reference/error-codes.md`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_CODE = re.compile(r"[A-Z][A-Z0-9_]{2,63}")


class Family(StrEnum):
    """Who is at fault: the first thing a person wants to know of a failure."""

    INPUT = "input"
    NETWORK = "network"
    SERVER = "server"
    CONTENT = "content"
    PROCESSING = "processing"
    STORAGE = "storage"
    INTERNAL = "internal"


class FailureCode(StrEnum):
    """Every reason for which an item can fail."""

    SOURCE_INVALID = "SOURCE_INVALID"
    SKIPPED_BY_INPUT = "SKIPPED_BY_INPUT"
    ADDRESS_DENIED = "ADDRESS_DENIED"

    DNS_FAILED = "DNS_FAILED"
    CONNECT_TIMEOUT = "CONNECT_TIMEOUT"
    CONNECTION_REFUSED = "CONNECTION_REFUSED"
    CONNECTION_FAILED = "CONNECTION_FAILED"
    TLS_FAILED = "TLS_FAILED"
    READ_TIMEOUT = "READ_TIMEOUT"
    DOWNLOAD_TIMEOUT = "DOWNLOAD_TIMEOUT"
    TOO_SLOW = "TOO_SLOW"
    PROTOCOL_ERROR = "PROTOCOL_ERROR"

    TOO_MANY_REDIRECTS = "TOO_MANY_REDIRECTS"
    REDIRECT_INVALID = "REDIRECT_INVALID"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    SOURCE_FORBIDDEN = "SOURCE_FORBIDDEN"
    SOURCE_REFUSED = "SOURCE_REFUSED"
    SOURCE_RATE_LIMITED = "SOURCE_RATE_LIMITED"
    SOURCE_SERVER_ERROR = "SOURCE_SERVER_ERROR"

    CONTENT_EMPTY = "CONTENT_EMPTY"
    CONTENT_TRUNCATED = "CONTENT_TRUNCATED"
    CONTENT_TOO_SMALL = "CONTENT_TOO_SMALL"
    CONTENT_TOO_LARGE = "CONTENT_TOO_LARGE"
    CONTENT_IS_HTML = "CONTENT_IS_HTML"
    CONTENT_ENCODING_INVALID = "CONTENT_ENCODING_INVALID"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    FORMAT_UNSUPPORTED = "FORMAT_UNSUPPORTED"

    DECODE_FAILED = "DECODE_FAILED"
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    MEMORY_EXCEEDED = "MEMORY_EXCEEDED"
    RENDER_TIMEOUT = "RENDER_TIMEOUT"
    RENDER_CRASHED = "RENDER_CRASHED"
    ENCODE_FAILED = "ENCODE_FAILED"

    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    STORE_FULL = "STORE_FULL"

    ABANDONED = "ABANDONED"
    INTERNAL = "INTERNAL"

    @classmethod
    def _missing_(cls, value: object) -> FailureCode | None:
        """A code of a newer version, which works beside this one: kept as it is, though nothing is known of it."""
        if not (isinstance(value, str) and _CODE.fullmatch(value)):
            return None
        newer = str.__new__(cls, value)
        newer._name_ = newer._value_ = value
        return newer


_FAMILIES: dict[Family, tuple[FailureCode, ...]] = {
    Family.INPUT: (FailureCode.SOURCE_INVALID, FailureCode.SKIPPED_BY_INPUT, FailureCode.ADDRESS_DENIED),
    Family.NETWORK: (
        FailureCode.DNS_FAILED,
        FailureCode.CONNECT_TIMEOUT,
        FailureCode.CONNECTION_REFUSED,
        FailureCode.CONNECTION_FAILED,
        FailureCode.TLS_FAILED,
        FailureCode.READ_TIMEOUT,
        FailureCode.DOWNLOAD_TIMEOUT,
        FailureCode.TOO_SLOW,
        FailureCode.PROTOCOL_ERROR,
    ),
    Family.SERVER: (
        FailureCode.TOO_MANY_REDIRECTS,
        FailureCode.REDIRECT_INVALID,
        FailureCode.SOURCE_NOT_FOUND,
        FailureCode.SOURCE_FORBIDDEN,
        FailureCode.SOURCE_REFUSED,
        FailureCode.SOURCE_RATE_LIMITED,
        FailureCode.SOURCE_SERVER_ERROR,
    ),
    Family.CONTENT: (
        FailureCode.CONTENT_EMPTY,
        FailureCode.CONTENT_TRUNCATED,
        FailureCode.CONTENT_TOO_SMALL,
        FailureCode.CONTENT_TOO_LARGE,
        FailureCode.CONTENT_IS_HTML,
        FailureCode.CONTENT_ENCODING_INVALID,
        FailureCode.NOT_AN_IMAGE,
        FailureCode.FORMAT_UNSUPPORTED,
    ),
    Family.PROCESSING: (
        FailureCode.DECODE_FAILED,
        FailureCode.TOO_MANY_PIXELS,
        FailureCode.MEMORY_EXCEEDED,
        FailureCode.RENDER_TIMEOUT,
        FailureCode.RENDER_CRASHED,
        FailureCode.ENCODE_FAILED,
    ),
    Family.STORAGE: (FailureCode.STORE_UNAVAILABLE, FailureCode.STORE_FULL),
    Family.INTERNAL: (FailureCode.ABANDONED, FailureCode.INTERNAL),
}

FAMILY_OF: dict[FailureCode, Family] = {code: family for family, codes in _FAMILIES.items() for code in codes}
"""The family of each code; complete, which a guard test proves."""


def family_of(code: str) -> Family:
    """The family of a code; INTERNAL of one that only a newer version knows."""
    return FAMILY_OF.get(FailureCode(code), Family.INTERNAL)


def is_of_the_bytes(code: str) -> bool:
    """Whether an item failed by what was downloaded: the same bytes would fail again, others might not."""
    return family_of(code) is Family.CONTENT or code == FailureCode.DECODE_FAILED


@dataclass(frozen=True, slots=True)
class Failure:
    """What is recorded of an item's failure, and shown to its owner.

    `message` is a sentence of ours for the person who reads the manifest: what is wrong and, where there
    is one, what to do. It never holds an exception's text.
    """

    code: FailureCode
    message: str
    http_status: int | None = None
    tries: int = 0
    """Tries of the download in the attempt that failed, quick retries included; 0 when it was not the download."""


class PipelineError(Exception):
    """An item's work could not be done; `failure` says why in words that may be shown."""

    def __init__(self, code: FailureCode, message: str, *, http_status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.failure = Failure(code, message, http_status)
        self.download_ms = 0.0
        """How long the download took until it failed; 0 when it was not the download."""


class TransientError(PipelineError):
    """Another try may succeed; not before `retry_after` seconds have passed, when the other side said so."""

    def __init__(
        self,
        code: FailureCode,
        message: str,
        *,
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, message, http_status=http_status)
        self.retry_after = retry_after


class PermanentError(PipelineError):
    """No further try can help."""
