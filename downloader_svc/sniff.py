"""What a file is, by its first bytes: the only witness that neither the server nor the URL can confuse."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from os.path import splitext
from urllib.parse import urlsplit

ENOUGH_BYTES = 1024
"""With so many first bytes the answer is final; the longest search is for `<svg` behind an XML head."""


class Kind(Enum):
    """What the mill can do with content."""

    PICTURE = auto()
    """A format the mill renders."""
    UNSUPPORTED = auto()
    """A picture or document that is known and not rendered."""
    HTML = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Sniffed:
    """The judgement: `format` is the mill's lower-case word for a PICTURE, and a name for people otherwise."""

    kind: Kind
    format: str = ""


_PICTURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
)

_UNSUPPORTED: tuple[tuple[bytes, str], ...] = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%PDF-", "PDF"),
    (b"8BPS", "Photoshop"),
)

_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}

_MARKUP_PROLOG = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?\?>\s*|<!--.*?-->\s*|<!doctype\s+svg[^>]*>\s*)*", re.S | re.I
)
_HTML = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|script|title|meta|style|div|table|h1|p|a|br|iframe|font|b)[\s>/]", re.I
)
_SVG = re.compile(rb"<svg[\s>]", re.I)


_MIME_FORMATS = {
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/pjpeg": "jpeg",
    "image/png": "png",
    "image/x-png": "png",
    "image/apng": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/tiff": "tiff",
    "image/tif": "tiff",
    "image/bmp": "bmp",
    "image/x-bmp": "bmp",
    "image/x-ms-bmp": "bmp",
    "image/avif": "avif",
    "image/x-icon": "ico",
    "image/vnd.microsoft.icon": "ico",
}
_SILENT_MIMES = ("", "application/octet-stream", "binary/octet-stream", "application/binary", "image/*")

_EXTENSION_FORMATS = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".jfif": "jpeg",
    ".png": "png",
    ".apng": "png",
    ".gif": "gif",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
    ".dib": "bmp",
    ".avif": "avif",
    ".ico": "ico",
}


def sniff(head: bytes) -> Sniffed:
    """Judge content by `head`, its first `ENOUGH_BYTES` bytes or all of it if it is shorter."""
    for magic, name in _PICTURES:
        if head.startswith(magic):
            return Sniffed(Kind.PICTURE, name)
    if name := _container(head):
        return Sniffed(Kind.PICTURE, name)
    for magic, name in _UNSUPPORTED:
        if head.startswith(magic):
            return Sniffed(Kind.UNSUPPORTED, name)
    if _brands(head) & _HEIC_BRANDS:
        return Sniffed(Kind.UNSUPPORTED, "HEIC")
    return _markup(head)


def disagreements(found: str, content_type: str, url: str) -> tuple[str, ...]:
    """Return a sentence for each of Content-Type and file extension that says otherwise than the first bytes.

    `found` is a PICTURE's format. Silence, and a type that could be anything, is no disagreement.
    """
    warnings = []
    mime = content_type.partition(";")[0].strip().lower()
    if mime not in _SILENT_MIMES and _MIME_FORMATS.get(mime) != found:
        warnings.append(f"The server calls it '{mime}', its first bytes say {found}.")
    extension = splitext(urlsplit(url).path)[1].lower()
    if _EXTENSION_FORMATS.get(extension, found) != found:
        warnings.append(f"Its name ends in '{extension}', its first bytes say {found}.")
    return tuple(warnings)


def _container(head: bytes) -> str:
    """Recognise the formats whose mark is weak or not at the very start."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if _brands(head) & _AVIF_BRANDS:
        return "avif"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "bmp"
    # Reserved, type 1 = icon, a count, then an entry whose fourth byte is reserved.
    if head[:4] == b"\x00\x00\x01\x00" and 0 < int.from_bytes(head[4:6], "little") < 256 and head[9:10] == b"\x00":
        return "ico"
    return ""


def _brands(head: bytes) -> set[bytes]:
    """Return the brands of an ISO base media file (ISO/IEC 14496-12, section 4.3), major and compatible ones."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}


def _markup(head: bytes) -> Sniffed:
    prolog = _MARKUP_PROLOG.match(head)
    rest = head[prolog.end() :] if prolog else head
    if _SVG.match(rest):
        return Sniffed(Kind.UNSUPPORTED, "SVG")
    if _HTML.match(rest):
        return Sniffed(Kind.HTML)
    return Sniffed(Kind.OTHER)
