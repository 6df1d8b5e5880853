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
    extension: str = ""
    """The usual file extension of what is UNSUPPORTED, without a dot."""


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

_UNSUPPORTED: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\x0a", "JPEG XL", "jxl"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL", "jxl"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000", "jp2"),
    (b"\xff\x4f\xff\x51", "JPEG 2000", "j2k"),
    (b"\xff\xd8\xff\xf7", "JPEG-LS", "jls"),
    (b"II\xbc\x01", "JPEG XR", "jxr"),
    (b"%PDF-", "PDF", "pdf"),
    (b"%!PS", "PostScript", "eps"),
    (b"\xc5\xd0\xd3\xc6", "PostScript", "eps"),
    (b"8BPS", "Photoshop", "psd"),
    (b"gimp xcf", "GIMP", "xcf"),
    (b"\x00\x00\x02\x00\x01\x00", "a cursor", "cur"),
    (b"icns", "an Apple icon", "icns"),
    (b"qoif", "QOI", "qoi"),
    (b"BPG\xfb", "BPG", "bpg"),
    (b"FLIF", "FLIF", "flif"),
    (b"DDS ", "DirectDraw Surface", "dds"),
    (b"v/1\x01", "OpenEXR", "exr"),
    (b"#?RADIANCE", "Radiance HDR", "hdr"),
    (b"SIMPLE  =", "FITS", "fits"),
    (b"AT&TFORM", "DjVu", "djvu"),
    (b"\x8aMNG\r\n\x1a\n", "MNG", "mng"),
    (b"\x8bJNG\r\n\x1a\n", "JNG", "jng"),
    (b"\xd7\xcd\xc6\x9a", "Windows Metafile", "wmf"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file", "raf"),
    (b"IIRO", "a camera's raw file", "orf"),
    (b"IIRS", "a camera's raw file", "orf"),
    (b"IIU\x00", "a camera's raw file", "rw2"),
    (b"FOVb", "a camera's raw file", "x3f"),
    (b"\x1aE\xdf\xa3", "a video", "webm"),
    (b"FLV\x01", "a video", "flv"),
    (b"OggS", "an Ogg video or sound", "ogg"),
    (b"\x00\x00\x01\xba", "a video", "mpg"),
    (b"\x00\x00\x01\xb3", "a video", "mpg"),
    (b"0&\xb2u\x8ef\xcf\x11", "a video", "wmv"),
)
"""First bytes, name for people, usual file extension."""
_UNSUPPORTED_STARTS = tuple(magic for magic, _, _ in _UNSUPPORTED)

_NETPBM = re.compile(rb"P[1-7]\s")
_RAW_IN_TIFF = b"CR\x02\x00"
"""Stands at byte 8 of Canon's raw files, which begin like TIFF."""
_RIFF_VIDEOS = {b"AVI ": ("a video", "avi")}

_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_RAW_BRANDS = {b"crx "}
_VIDEO_BRANDS = {b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"qt  ", b"3gp4"}

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
    # Some begin like a picture that is rendered, so what is not rendered is looked for first.
    if unsupported := _unsupported(head):
        return Sniffed(Kind.UNSUPPORTED, *unsupported)
    for magic, name in _PICTURES:
        if head.startswith(magic):
            return Sniffed(Kind.PICTURE, name)
    if name := _container(head):
        return Sniffed(Kind.PICTURE, name)
    return _markup(head)


def _unsupported(head: bytes) -> tuple[str, str] | None:
    """Return name and extension of a known format that is not rendered."""
    if head.startswith(_UNSUPPORTED_STARTS):
        return next((name, extension) for magic, name, extension in _UNSUPPORTED if head.startswith(magic))
    if head[8:12] == _RAW_IN_TIFF and head.startswith(b"II*\x00"):
        return "a camera's raw file", "cr2"
    if head[:4] == b"RIFF" and head[8:12] in _RIFF_VIDEOS:
        return _RIFF_VIDEOS[head[8:12]]
    if _NETPBM.match(head):
        return "Netpbm", "pnm"
    return _boxed(_brands(head))


def _boxed(brands: set[bytes]) -> tuple[str, str] | None:
    """Tell the formats in ISO base media files apart by their brands."""
    if brands & _AVIF_BRANDS:
        return None
    if brands & _HEIC_BRANDS:
        return "HEIC", "heic"
    if brands & _RAW_BRANDS:
        return "a camera's raw file", "cr3"
    return ("a video", "mp4") if brands & _VIDEO_BRANDS else None


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
        return Sniffed(Kind.UNSUPPORTED, "SVG", "svg")
    if _HTML.match(rest):
        return Sniffed(Kind.HTML)
    return Sniffed(Kind.OTHER)
