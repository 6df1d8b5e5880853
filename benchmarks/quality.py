"""How close pictures come to a full decode resampled by Lanczos, by PSNR."""

from __future__ import annotations

import io
import statistics
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy
from numpy.typing import NDArray
from PIL import Image

from benchmarks.thumbnails import OPTIONS

_ORIGINALS = 8
"""Originals whose pictures are looked at, the same ones whoever made them."""
_SIGN = (16, 16)
"""Size to which pictures are reduced to find out which one is which."""

Pixels = NDArray[numpy.int16]


def psnr(pictures: Iterable[Path], originals: list[Path], boxes: Iterable[tuple[int, str]]) -> float:
    """Return the mean PSNR in decibels over all boxes and formats, each as important as the other."""
    sides = {side for side, _ in boxes}
    found: dict[tuple[str | None, int], dict[Path, float]] = defaultdict(dict)
    looked_at = set(originals[:_ORIGINALS])
    for path in pictures:
        with Image.open(path) as opened:
            # One that is smaller than its box was not enlarged.
            of_kind = found[opened.format, min(sides, key=lambda side: abs(side - max(opened.size)))]
            if len(of_kind) == len(looked_at):
                continue
            picture = opened.convert("RGB")
        original = _original_of(picture, tuple(originals))
        if original in looked_at and original not in of_kind:
            of_kind[original] = _psnr(_pixels(picture), _best(original, picture.size))
    return statistics.mean(statistics.mean(of_kind.values()) for of_kind in found.values())


def best_psnr(boxes: Iterable[tuple[int, str]], originals: list[Path]) -> float:
    """Return what the encoders alone leave of it: the PSNR of a full decode by Lanczos, encoded as the mill does it."""
    return statistics.mean(
        statistics.mean(_encoded_psnr(original, side, format_) for original in originals[:_ORIGINALS])
        for side, format_ in boxes
    )


def _encoded_psnr(original: Path, side: int, format_: str) -> float:
    whole = _whole(original)
    scale = min(1.0, side / max(whole.size))
    best = _best(original, (round(whole.width * scale), round(whole.height * scale)))
    encoded = io.BytesIO()
    Image.fromarray(best.astype(numpy.uint8)).save(encoded, format_, **OPTIONS[format_])
    with Image.open(encoded) as opened:
        return _psnr(_pixels(opened.convert("RGB")), best)


def _original_of(picture: Image.Image, originals: tuple[Path, ...]) -> Path:
    sign = _pixels(picture.resize(_SIGN))
    return min(originals, key=lambda each: _squared_error(sign, _sign(each)))


def _psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * numpy.log10(255**2 / _squared_error(one, other)))


def _squared_error(one: Pixels, other: Pixels) -> float:
    return float(numpy.square(one - other, dtype=numpy.float64).mean())


@cache
def _sign(original: Path) -> Pixels:
    return _pixels(_whole(original).resize(_SIGN))


@cache
def _best(original: Path, size: tuple[int, int]) -> Pixels:
    return _pixels(_whole(original).resize(size, Image.Resampling.LANCZOS))


def _whole(original: Path) -> Image.Image:
    """Decode all of it, and lay what is transparent on white."""
    with Image.open(original) as opened:
        if opened.mode != "RGBA":
            return opened.convert("RGB")
        ground = Image.new("RGB", opened.size, "white")
        ground.paste(opened, mask=opened.getchannel("A"))
        return ground


def _pixels(picture: Image.Image) -> Pixels:
    return numpy.asarray(picture, dtype=numpy.int16)
