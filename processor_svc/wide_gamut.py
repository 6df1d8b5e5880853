"""Wide gamuts that are told by other means than an ICC profile, as the profile that says the same."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

_INTEROP_INDEX = 1
_CODE_POINTS = 4096
"""Bytes of a file's start in which its code points are looked for: they stand before the pixels."""

# XYZ of red, green and blue, adapted to D50.
_ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
_DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
_BT_2020 = ((0.67346, 0.27903, -0.00194), (0.16566, 0.67534, 0.02998), (0.12510, 0.04561, 0.79686))

_GAMMA_2_2 = b"curv" + struct.pack(">4xIH", 1, 0x0233)
_SRGB_CURVE = b"para" + struct.pack(
    ">4xHH5i", 3, 0, *(round(part * 65536) for part in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)

# ITU-T H.273, tables 2 and 3. The curves of video are shown by browsers like that of sRGB.
_PRIMARIES = {9: _BT_2020, 12: _DISPLAY_P3}
_SRGB_LIKE = frozenset({1, 2, 6, 13, 14, 15})


def of_camera(interoperability: Mapping[int, Any]) -> bytes | None:
    """Give Adobe RGB if a camera says so (CIPA DC-008, section 4.6.7); it embeds no profile."""
    return _profile(_ADOBE_RGB, _GAMMA_2_2) if interoperability.get(_INTEROP_INDEX) == "R03" else None


def of_code_points(data: bytes, format_: str) -> bytes | None:
    """Give what the code points of an AVIF or a PNG say; None if they say sRGB, nothing, or a range beyond it."""
    head = data[:_CODE_POINTS]
    if format_ == "avif" and (at := head.find(b"colrnclx")) >= 0 and len(head) >= at + 12:
        primaries, curve = struct.unpack_from(">HH", head, at + 8)
    elif format_ == "png" and (at := head.find(b"\0\0\0\x04cICP")) >= 0 and len(head) >= at + 10:
        primaries, curve = head[at + 8], head[at + 9]
    else:
        return None
    known = _PRIMARIES.get(primaries) if curve in _SRGB_LIKE else None
    return _profile(known, _SRGB_CURVE) if known else None


@cache
def _profile(primaries: Sequence[tuple[float, float, float]], curve: bytes) -> bytes:
    """Make an ICC profile of three primaries and one curve for all of them (ICC.1:2001-04, section 6.3.1.2)."""
    white = (0.9642, 1.0, 0.8249)
    name = b"wide gamut\0"
    description = b"desc" + struct.pack(">4xI", len(name)) + name + bytes(4 + 4 + 2 + 1 + 67)
    tags = [(b"desc", description), (b"wtpt", _xyz(white)), (b"cprt", b"text\0\0\0\0none\0")]
    tags += [(sign + b"XYZ", _xyz(value)) for sign, value in zip((b"r", b"g", b"b"), primaries, strict=True)]
    tags += [(sign + b"TRC", curve) for sign in (b"r", b"g", b"b")]
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for sign, content in tags:
        table += sign + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x12s48x",
        *(start + len(body), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp", _xyz(white)[8:]),
    )
    return head + struct.pack(">I", len(tags)) + table + body


def _xyz(value: tuple[float, float, float]) -> bytes:
    return b"XYZ " + struct.pack(">4x3i", *(round(part * 65536) for part in value))
