"""Whether a file ends before its picture does: asked of content that could not be decoded."""

from __future__ import annotations

import struct

_TAIL = 1024
"""How many last bytes are searched for an end marker: some servers append a few of their own."""


def ends_early(data: bytes, format_: str) -> bool:
    """Say whether `data` lacks its format's end; False where the format has no way to tell."""
    match format_:
        case "jpeg":
            return b"\xff\xd9" not in data[-_TAIL:]
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
        case _:
            return False


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
