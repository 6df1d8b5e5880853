"""What may stand in a list as the source of a picture: the judgement of a URL's form, before any request.

Where a URL leads is judged elsewhere, by the address that is dialled: no rule about its text can do that.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import SplitResult, unquote, urlsplit

from imagemill.domain.failures import FailureCode, PermanentError

LONGEST_URL = 8192
"""Bytes of UTF-8; longer ones are refused by most servers, and are usually a picture's data pasted by mistake."""

LONGEST_STEM = 120
"""Bytes of UTF-8; leaves room for index, variant and extension within the 255 that file systems take."""

_SCHEMES = ("http", "https")
_SUBSTITUTE = "\x1a"
"""ASCII's substitute character; readers of lists put it where bytes could not be decoded."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HOST_BREAKERS = re.compile(r"[\s\\<>\"^`{|}%]")
_LIKE_A_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|[^\s/]+\.[^\s/]+(/|$)")
"""A scheme, or a host in front of a path: what is neither has worse troubles than a space."""
_NO_URL = "This does not look like a URL; it must start with http:// or https://."
_URL_BEHIND_MORE = re.compile(r"[\"'<]\s*https?://|.*[,;|\s]\s*[\"']?https?://", re.IGNORECASE)
_COLUMNS_BEHIND = re.compile(r"https?://[^/\s]+/.*?(?:\.[a-z][a-z0-9]{1,4}[,;|\s]|[,;|]\s)", re.IGNORECASE)
"""More text after what ends like a picture's name, or after a comma: a table's row rather than a space in a name."""
_ONE_PER_LINE = "write one URL per line, no other columns"

_LAST_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_NOT_IN_ASCII_STEM = re.compile(r"[^A-Za-z0-9._-]+")
_LETTERS_AND_NUMBERS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No"})
_MARKS = frozenset({"Mn", "Mc"})
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks by category that show nothing: Unicode's Default_Ignorable_Code_Point of the categories above."""


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

    The result is never empty, holds only letters and digits of any script in Unicode's NFC and `._-`, starts
    and ends with neither a dot nor a hyphen, and has at most `LONGEST_STEM` bytes in UTF-8. Different URLs may
    share it.
    """
    segment = urlsplit(url).path.rstrip("/").rpartition("/")[2]
    # Split into segments first: an escaped slash belongs to the name and becomes a hyphen.
    name = _LAST_EXTENSION.sub("", unquote(segment, errors="ignore"))
    plain = _NOT_IN_ASCII_STEM.sub("-", name) if name.isascii() else _letters_and_digits(name)
    stem = re.sub(r"-{2,}", "-", plain).lstrip(".-")
    return stem.encode()[:LONGEST_STEM].decode(errors="ignore").rstrip(".-") or "image"


def _letters_and_digits(name: str) -> str:
    """Replace by hyphens whatever is no part of a word in some script, symbols and emoji included."""
    kept: list[str] = []
    for character in unicodedata.normalize("NFC", _UNSEEN.sub("", name)):
        category = unicodedata.category(character)
        # A mark is part of the letter before it; without one it would sit on a hyphen.
        part_of_word = category in _LETTERS_AND_NUMBERS or (category in _MARKS and kept and kept[-1] not in "._-")
        kept.append(character if part_of_word or character in "._-" else "-")
    return "".join(kept)


def _invalid(message: str) -> PermanentError:
    return PermanentError(FailureCode.SOURCE_INVALID, message)


def _refuse_unreadable(url: str) -> None:
    if not url:
        raise _invalid("The line is empty; write a URL that starts with http:// or https://.")
    # In bytes: a message holds hundreds of them, and has a limit of its own.
    if (size := len(url.encode(errors="replace"))) > LONGEST_URL:
        raise _invalid(f"The URL has {size:,} bytes, more than the {LONGEST_URL:,} that the mill takes.")
    if _SUBSTITUTE in url:
        raise _invalid("The URL holds bytes that are not UTF-8; write them percent-encoded.")
    if not _LIKE_A_URL.match(url) and _URL_BEHIND_MORE.match(url):
        raise _invalid(f"The line holds more than a URL; {_ONE_PER_LINE} and no quotation marks.")
    _refuse_blanks(url)
    if _UNPRINTABLE.search(url):
        raise _invalid("The URL holds a control character; remove it, or write it percent-encoded.")


def _refuse_blanks(url: str) -> None:
    if "\t" in url:
        raise _invalid(f"A tab stands in the URL; {_ONE_PER_LINE}, and a tab that belongs to the URL as %09.")
    if not _LIKE_A_URL.match(url):
        raise _invalid(_NO_URL)
    if not re.search(r"\s", url):
        return
    if _COLUMNS_BEHIND.match(url):
        raise _invalid(f"More text follows the URL; {_ONE_PER_LINE}, and a space that belongs to the URL as %20.")
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
    if ":" not in host:
        _refuse_labels(host.removesuffix(".").split("."))


def _refuse_labels(labels: list[str]) -> None:
    if any(len(label) > 63 for label in labels):
        raise _invalid("A part of the host's name is longer than the 63 characters that a name can have.")
    if sum(map(len, labels)) + len(labels) > 254:
        raise _invalid("The host's name is longer than the 253 characters that a name can have.")
    if not all(labels):
        raise _invalid("A part of the host's name is missing between two dots, or before the first.")
    if not all(map(_can_be_decoded, labels)):
        raise _invalid("A part of the host's name starts with 'xn--' and encodes nothing that can be read.")


def _can_be_decoded(label: str) -> bool:
    """Say whether a label that claims to be encoded (RFC 5890, 2.3.2.1) is; what it spells is the registry's matter."""
    if not label.startswith("xn--"):
        return True
    try:
        return not label[4:].encode("ascii").decode("punycode").isascii()
    except UnicodeError:
        return False
