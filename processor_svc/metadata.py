"""What is read out of an original's EXIF, and what of it a render may keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ORIENTATION = 0x0112
EXIF_IFD = 0x8769

_LONGEST = 100
"""Characters of one value in the record: what a person reads, not what a camera maker hides."""

# Tag numbers and names: CIPA DC-008 (Exif 3.0), tables 4 to 8.
_RECORDED_MAIN = {
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    ORIENTATION: "Orientation",
    0x0131: "Software",
    0x0132: "DateTime",
    0x013B: "Artist",
    0x8298: "Copyright",
}
_RECORDED_EXIF = {
    0x829A: "ExposureTime",
    0x829D: "FNumber",
    0x8827: "ISOSpeed",
    0x9003: "DateTimeOriginal",
    0x920A: "FocalLength",
    0xA434: "LensModel",
}
_LEFT_OUT = frozenset(
    {
        0x927C,  # MakerNote: offsets in it break when it moves, and it may hold serial numbers
        0x9286,  # UserComment
        0xA002,  # PixelXDimension and
        0xA003,  # PixelYDimension are no longer true
        0xA005,  # the pointer to the interoperability block
        0xA420,  # ImageUniqueID
        0xA430,  # CameraOwnerName
        0xA431,  # BodySerialNumber
        0xA435,  # LensSerialNumber
    }
)


def recorded(main: Mapping[int, Any], exif: Mapping[int, Any]) -> dict[str, str]:
    """Give the tags that stand in an item's record, as text; never a place or a serial number."""
    found = {name: _text(main[tag]) for tag, name in _RECORDED_MAIN.items() if tag in main}
    found |= {name: _text(exif[tag]) for tag, name in _RECORDED_EXIF.items() if tag in exif}
    return {name: text for name, text in found.items() if text}


def kept(main: Mapping[int, Any], exif: Mapping[int, Any]) -> tuple[dict[int, Any], dict[int, Any]]:
    """Give what a render keeps of both blocks: no place, no serial number, no thumbnail; upright."""
    kept_main = {tag: main[tag] for tag in _RECORDED_MAIN if tag in main}
    if ORIENTATION in kept_main:
        kept_main[ORIENTATION] = 1
    return kept_main, {tag: value for tag, value in exif.items() if tag not in _LEFT_OUT}


def _text(value: Any) -> str:
    written = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return "".join(character for character in written if character.isprintable()).strip()[:_LONGEST]
