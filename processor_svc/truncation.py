"""Whether a file ends before its picture does: asked of content that could not be decoded."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

_TAIL = 1024
"""How many last bytes are searched for an end marker: some servers append a few of their own."""

END_OF_JPEG = b"\xff\xd9"
# Marker codes: ITU-T T.81, table B.1. Start of frame is C0 to CF but for three; C2 and its kin are progressive.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_START_OF_SCAN = 0xDA
_BEHIND_A_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
"""A marker that is neither a restart within the scan nor an escaped byte."""


def ends_early(data: bytes, format_: str) -> bool:
    """Say whether `data` lacks its format's end; False where the format has no way to tell."""
    match format_:
        case "jpeg":
            return END_OF_JPEG not in data[-_TAIL:]
        case "png":
            return b"IEND" not in data[-_TAIL:]
        case "gif":
            return not data.rstrip(b"\0").endswith(b";")
        case "webp":
            return len(data) < 12 or len(data) < 8 + int.from_bytes(data[4:8], "little")
        case "bmp":
            return len(data) < 26 or len(data) < int.from_bytes(data[2:6], "little")
        case "avif":
            return _box_is_cut(data)
        case "ico":
            return _icon_is_cut(data)
        case _:
            return False


def has_all_scans(data: bytes) -> bool:
    """Say whether a JPEG has a scan for every bit of every component, of which the last may be incomplete.

    A sequential picture needs a scan for each component; a progressive one needs, for each of a component's 64
    coefficients, the scan of its lowest bit (ITU-T T.81, G.1.1.1).
    """
    awaited: dict[int, set[int]] = {}
    progressive = False
    for marker, body in _segments(data):
        if marker in _FRAMES:
            progressive = marker in _PROGRESSIVE
            awaited = {component: set(range(64)) for component in body[6::3]}
        elif marker == _START_OF_SCAN and len(body) >= 6:
            components = body[1 : 1 + 2 * body[0] : 2]
            first, last, bits = body[-3:] if progressive else (0, 63, 0)
            for component in components if bits & 0x0F == 0 else ():
                awaited.get(component, set()).difference_update(range(first, last + 1))
    return bool(awaited) and not any(awaited.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the marker segments of a JPEG that are whole, without their lengths (ITU-T T.81, B.1.1.4)."""
    at = 2
    while data[at : at + 1] == b"\xff":
        marker, end = data[at + 1 : at + 2], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        if end > len(data) or not marker:
            return
        yield marker[0], body
        at = end
        if marker[0] == _START_OF_SCAN:
            following = _BEHIND_A_SCAN.search(data, at)
            at = following.end() - 2 if following else len(data)


def _icon_is_cut(data: bytes) -> bool:
    """Look for the icons that the directory lists: 16 bytes each, of which the last 8 are length and place."""
    count = int.from_bytes(data[4:6], "little")
    if len(data) < 6 + 16 * count:
        return True
    entries = (struct.unpack_from("<II", data, 6 + 16 * number + 8) for number in range(count))
    return any(place + length > len(data) for length, place in entries)


def _box_is_cut(data: bytes) -> bool:
    """Walk the top-level boxes (ISO/IEC 14496-12, section 4.2)."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            return True
        (size,) = struct.unpack_from(">I", data, at)
        if size == 1 and len(data) - at >= 16:
            (size,) = struct.unpack_from(">Q", data, at + 8)
        if size == 0:  # the box lasts to the end of the file, wherever that is
            return False
        if size < 8:  # broken, not cut
            return False
        at += size
    return at > len(data)
