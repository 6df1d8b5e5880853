"""Colours to sRGB, by the ICC profile that says how they are meant.

The module of the library that does it is imported when the first profile is met.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

UNUSABLE = "The colour profile is broken or of another kind of picture; the colours are taken for sRGB."

_NO_DIFFERENCE = 2
"""Largest step in 255 by which a profile may differ from sRGB and still count as sRGB: versions of it differ so."""
_LARGEST_KEPT = 1 << 20
"""Bytes; a render of a few kilobytes is not to carry more."""
_LARGEST_READ = 4 << 20
"""Bytes; what was made of the last profiles is remembered with them, and a picture may bring one of any size."""
_PROBES = (0, 32, 64, 96, 128, 160, 192, 224, 255)


class _Kind(Enum):
    SRGB = auto()
    OTHER = auto()
    UNUSABLE = auto()


@dataclass(frozen=True, slots=True)
class _Way:
    """How pixels of one mode get from a profile to sRGB."""

    kind: _Kind
    transform: ImageCmsTransform | None = None
    bands: str = ""
    """The mode in which the pixels go through the transform."""


@dataclass(frozen=True, slots=True)
class Coloured:
    """A picture in L, LA, RGB or RGBA; its colours are those of `profile`, or of sRGB if that is None."""

    image: Image.Image
    profile: bytes | None = None
    remark: str = ""


def coloured(image: Image.Image, profile: bytes, *, keep: bool = False) -> Coloured:
    """Bring a picture in L, LA, RGB, RGBA or CMYK to sRGB; with `keep`, RGB keeps its profile instead.

    A picture whose profile is unusable counts as sRGB already, with a remark.
    """
    way = _way(profile, image.mode) if len(profile) <= _LARGEST_READ else _Way(_Kind.UNUSABLE)
    if way.kind is _Kind.UNUSABLE:
        return Coloured(_plain(image), remark=UNUSABLE)
    if keep and image.mode in ("RGB", "RGBA") and len(profile) <= _LARGEST_KEPT:
        return Coloured(image, profile)
    return Coloured(_plain(image) if way.transform is None else _transformed(image, way))


def _plain(image: Image.Image) -> Image.Image:
    return image.convert("RGB") if image.mode == "CMYK" else image


def _transformed(image: Image.Image, way: _Way) -> Image.Image:
    if image.mode not in ("L", "LA"):
        return _applied(image, way)
    grey = image if image.mode == "L" else image.getchannel("L")
    # What is grey in any profile is grey in sRGB.
    converted = _applied(grey.convert(way.bands), way).convert("L")
    if image.mode == "LA":
        converted.putalpha(image.getchannel("A"))
    return converted


def _applied(image: Image.Image, way: _Way) -> Image.Image:
    from PIL import ImageCms

    assert way.transform is not None
    converted = ImageCms.applyTransform(image, way.transform)
    assert converted is not None, "only a conversion in place gives nothing"
    return converted


@lru_cache(maxsize=16)
def _way(profile: bytes, mode: str) -> _Way:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        bands = _bands(source.profile.xcolor_space.strip(), mode)
        if bands is None:
            return _Way(_Kind.UNUSABLE)
        target = "RGBA" if bands == "RGBA" else "RGB"
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), bands, target)
        way = _Way(_Kind.OTHER, transform, bands)
        return _Way(_Kind.SRGB) if _changes_nothing(way) else way
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return _Way(_Kind.UNUSABLE)


def _bands(space: str, mode: str) -> str | None:
    """Give the mode in which pixels of `mode` go through a profile of this colour space; None if they can't."""
    if space == "RGB":
        return {"L": "RGB", "LA": "RGB", "RGB": "RGB", "RGBA": "RGBA"}.get(mode)
    if space == "GRAY":
        return {"L": "L", "LA": "L"}.get(mode)
    return "CMYK" if space == mode == "CMYK" else None


def _changes_nothing(way: _Way) -> bool:
    """Ask the profile, not its name: there are linear ones that are called sRGB."""
    if way.bands == "CMYK":
        return False
    if way.bands == "L":
        probe = Image.frombytes("L", (len(_PROBES), 1), bytes(_PROBES))
    else:
        colours = bytes(
            value for red in _PROBES for green in _PROBES for blue in _PROBES for value in (red, green, blue)
        )
        probe = Image.frombytes("RGB", (len(colours) // 3, 1), colours).convert(way.bands)
    difference = ImageChops.difference(_applied(probe, way).convert("RGB"), probe.convert("RGB"))
    return all(highest <= _NO_DIFFERENCE for _, highest in difference.getextrema())  # type: ignore[misc]  # three bands
