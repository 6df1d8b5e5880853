"""What is read out of an original's EXIF, and what of it a render may keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ORIENTATION = 0x0112
EXIF_IFD = 0x8769
INTEROP_IFD = 0xA005
COLOUR_SPACE = 0xA001
UNCALIBRATED = 0xFFFF

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
_KEPT_EXIF = frozenset(
    {
        0x829A,  # ExposureTime
        0x829D,  # FNumber
        0x8822,  # ExposureProgram
        0x8827,  # ISOSpeed
        0x9000,  # ExifVersion
        0x9003,  # DateTimeOriginal
        0x9004,  # DateTimeDigitized
        0x9010,  # OffsetTime
        0x9011,  # OffsetTimeOriginal
        0x9012,  # OffsetTimeDigitized
        0x9201,  # ShutterSpeedValue
        0x9202,  # ApertureValue
        0x9203,  # BrightnessValue
        0x9204,  # ExposureBiasValue
        0x9205,  # MaxApertureValue
        0x9206,  # SubjectDistance
        0x9207,  # MeteringMode
        0x9208,  # LightSource
        0x9209,  # Flash
        0x920A,  # FocalLength
        0x9290,  # SubSecTime
        0x9291,  # SubSecTimeOriginal
        0x9292,  # SubSecTimeDigitized
        0xA402,  # ExposureMode
        0xA403,  # WhiteBalance
        0xA404,  # DigitalZoomRatio
        0xA405,  # FocalLengthIn35mmFilm
        0xA406,  # SceneCaptureType
        0xA432,  # LensSpecification
        0xA433,  # LensMake
        0xA434,  # LensModel
    }
)
"""A list of what is known to be harmless, because cameras and programs put into EXIF what they like."""
_LONGEST_KEPT = 2000
"""Characters or numbers of one value in a render: JPEG holds 64 KB in all, and a thumbnail should not carry more."""


def recorded(main: Mapping[int, Any], exif: Mapping[int, Any]) -> dict[str, str]:
    """Give the tags that stand in an item's record, as text; never a place or a serial number."""
    found = {name: _text(main[tag]) for tag, name in _RECORDED_MAIN.items() if tag in main}
    found |= {name: _text(exif[tag]) for tag, name in _RECORDED_EXIF.items() if tag in exif}
    return {name: text for name, text in found.items() if text}


def kept(main: Mapping[int, Any], exif: Mapping[int, Any]) -> tuple[dict[int, Any], dict[int, Any]]:
    """Give what a render keeps of both blocks: no place, no serial number, no thumbnail; upright."""
    kept_main = {tag: main[tag] for tag in _RECORDED_MAIN if tag in main and _is_short(main[tag])}
    if ORIENTATION in kept_main:
        kept_main[ORIENTATION] = 1
    return kept_main, {tag: value for tag, value in exif.items() if tag in _KEPT_EXIF and _is_short(value)}


def _is_short(value: Any) -> bool:
    return not hasattr(value, "__len__") or len(value) <= _LONGEST_KEPT


def _text(value: Any) -> str:
    written = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return "".join(character for character in written if character.isprintable()).strip()[:_LONGEST]
