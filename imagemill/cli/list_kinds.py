"""What a file is that was given as a list of URLs and is none: named, so that its user sees what to do about it."""

from __future__ import annotations

import codecs

JUDGED = 4096
"""Bytes of a list's start by which it is judged."""

_ARCHIVES = (
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"BZh", "a compressed file (bzip2)"),
    (b"\xfd7zXZ", "a compressed file (xz)"),
    (b"\x28\xb5\x2f\xfd", "a compressed file (zstd)"),
)


def other_kind(start: bytes) -> str | None:
    """Say in a sentence what a list without URLs looks like by its first bytes, and what to do; None if unknown."""
    for magic, name in _ARCHIVES:
        if start.startswith(magic):
            return f"It looks like {name}. Give the text inside it, one URL per line; - reads standard input."
    if _is_utf_16(start):
        return "It looks like UTF-16 without a byte order mark. Save it as UTF-8."
    if start.removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"{", b"[")):
        return "It looks like JSON. Give a text file that holds only the URLs, one per line."
    return None


def _is_utf_16(start: bytes) -> bool:
    # A URL is ASCII, so every other byte is zero: the second ones in little-endian, the first ones in big-endian.
    return any(half and half.count(0) > 0.9 * len(half) for half in (start[::2], start[1::2]))
