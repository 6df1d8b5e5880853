"""What may stand in a list as the source of a picture: the judgement of a URL's form, before any request.

Where a URL leads is judged elsewhere, by the address that is dialled: no rule about its text can do that.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from imagemill.domain.failures import FailureCode, PermanentError

LONGEST_URL = 8192
"""Characters; longer ones are refused by most servers, and are usually a picture's data pasted by mistake."""

LONGEST_STEM = 60
"""Characters; leaves room for index, variant and extension on every file system."""

_SCHEMES = ("http", "https")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HOST_BREAKERS = re.compile(r"[\s\\<>\"^`{|}%]")
_LIKE_A_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|[^\s/]+\.[^\s/]+(/|$)")
"""A scheme, or a host in front of a path: what is neither has worse troubles than a space."""
_NO_URL = "This does not look like a URL; it must start with http:// or https://."
_LAST_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_NOT_IN_STEM = re.compile(r"[^A-Za-z0-9._-]+")


def validate_url(text: str) -> str:
    """Return `text`, stripped and otherwise verbatim, if it is a URL that the mill can fetch.

    Nothing is re-encoded, since a signed URL would break. Names outside ASCII are allowed.

    Raises `PermanentError` SOURCE_INVALID with what is wrong and what to do.
    """
    url = text.strip()
    _refuse_unreadable(url)
    parts = _split(url)
    _refuse_scheme(url, parts.scheme)
    _refuse_authority(parts)
    return url


def host_of(url: str) -> str:
    """Return the host that a valid `url` names, in lower case, without port or brackets."""
    return urlsplit(url).hostname or ""


def stem_of(url: str) -> str:
    """Return a readable file name for the picture at `url`: its last path segment without the extension.

    The result is never empty, holds only `A-Za-z0-9._-`, starts with neither a dot nor a hyphen and has at
    most `LONGEST_STEM` characters. Different URLs may share it.
    """
    segment = urlsplit(url).path.rstrip("/").rpartition("/")[2]
    # Split into segments first: an escaped slash belongs to the name and becomes a hyphen.
    name = _LAST_EXTENSION.sub("", unquote(segment, errors="ignore"))
    stem = re.sub(r"-{2,}", "-", _NOT_IN_STEM.sub("-", name)).lstrip(".-")
    return stem[:LONGEST_STEM].rstrip(".-") or "image"


def _invalid(message: str) -> PermanentError:
    return PermanentError(FailureCode.SOURCE_INVALID, message)


def _refuse_unreadable(url: str) -> None:
    if not url:
        raise _invalid("The line is empty; write a URL that starts with http:// or https://.")
    if len(url) > LONGEST_URL:
        raise _invalid(f"The URL has {len(url):,} characters, more than the {LONGEST_URL:,} that the mill takes.")
    if _UNPRINTABLE.search(url):
        raise _invalid("The URL holds a control character; remove it, or write it percent-encoded.")
    if not _LIKE_A_URL.match(url):
        raise _invalid(_NO_URL)
    if re.search(r"\s", url):
        raise _invalid("The URL holds a space; write it as %20.")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks the port's range
    except ValueError as error:
        raise _invalid(
            "The host or port is not written as a URL needs it; "
            "a port is a number up to 65535, an IPv6 address stands in brackets."
        ) from error
    return parts


def _refuse_scheme(url: str, scheme: str) -> None:
    if scheme in _SCHEMES and url[len(scheme) :].startswith("://"):
        return
    if scheme in _SCHEMES:
        raise _invalid(f"Two slashes are missing after '{scheme}:'; write {scheme}://.")
    if scheme and "." not in scheme and url[len(scheme)] == ":" and not url[len(scheme) + 1 :][:1].isdigit():
        raise _invalid(f"'{scheme[:20]}' is not a scheme the mill fetches; use http:// or https://.")
    raise _invalid(_NO_URL)


def _refuse_authority(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise _invalid("The URL carries a user name or password before an '@'; the mill sends none, remove them.")
    host = parts.hostname or ""
    if not host.strip("."):
        raise _invalid("The URL names no host; it must read like https://example.com/picture.jpg.")
    if _HOST_BREAKERS.search(parts.netloc):
        raise _invalid("The host holds a character that no host name can have.")
    if parts.port == 0:
        raise _invalid("Port 0 can't be reached; a port is a number from 1 to 65535.")
    if any(len(label) > 63 for label in host.split(".")) and ":" not in host:
        raise _invalid("A part of the host's name is longer than the 63 characters that a name can have.")
