"""Resampling, which takes most of the time that a render is not decoded or encoded in.

Both engines convolve with Lanczos' kernel of three lobes and differ by rounding alone. The one with SIMD instructions
takes a fifth of Pillow's time, and is used wherever it can be; Pillow knows all platforms and all modes.
"""

from __future__ import annotations

import math
import mmap

import PIL
from PIL import Image

from processor_svc.geometry import Box, Size

try:
    import cykooz_resizer as simd
except ImportError:  # it is not made for this platform
    simd = None

_STEP = 3.0
"""What is at least six times as large as its target is reduced to three to six times of it first, by the mean of
neighbours: that takes little time and memory, and so far from the target it is not seen."""
_LOBES = 3
_BYTES_PER_PIXEL = {"L": 1, "RGB": 4, "RGBA": 4}
"""By the modes that the other engine knows."""
_PILLOW = "13"
"""The version of Pillow whose pixels are known to lie where the other engine looks for them."""

has_simd = simd is not None and PIL.__version__.partition(".")[0] == _PILLOW


def is_quick(image: Image.Image) -> bool:
    """Whether the quicker engine resamples it."""
    return has_simd and image.mode in _BYTES_PER_PIXEL


def resample(image: Image.Image, size: Size, box: Box) -> Image.Image:
    """Bring the part `box` of a picture to a size, in pixels; transparency weighs the colours.

    Raises `MemoryError`.
    """
    image, box = _within_a_step(image, size, box)
    if is_quick(image):
        return _resampled_by_simd(image, size, box)
    return image.resize(size, Image.Resampling.LANCZOS, box=box)


def _within_a_step(image: Image.Image, size: Size, box: Box) -> tuple[Image.Image, Box]:
    left, top, right, bottom = box
    x, y = max(1, int((right - left) / size[0] / _STEP)), max(1, int((bottom - top) / size[1] / _STEP))
    if x == y == 1:
        return image, box
    return image.reduce((x, y)), (left / x, top / y, right / x, bottom / y)


def _resampled_by_simd(image: Image.Image, size: Size, box: Box) -> Image.Image:
    left, top, right, bottom = box
    resized = Image.new(image.mode, size)
    _make_sure_of(_needed_bytes(image, size, right - left))
    options = simd.ResizeOptions(
        resize_alg=simd.ResizeAlg.convolution(simd.FilterType.lanczos3),
        crop_box=simd.CropBox(left, top, right - left, bottom - top),
    )
    # A resizer keeps what it needed for the largest picture it saw; so each picture has its own.
    simd.Resizer().resize_pil(image, resized, options)
    return resized


def _needed_bytes(image: Image.Image, size: Size, width: float) -> int:
    """Give what the other engine needs beside the result: it resamples the columns first, and weighs a copy."""
    beside = _LOBES * math.ceil(max(1.0, width / size[0])) + 1
    between = min(image.width, math.ceil(width) + 2 * beside) * size[1]
    weighted = image.width * image.height if image.mode == "RGBA" else 0
    return (between + weighted) * _BYTES_PER_PIXEL[image.mode]


def _make_sure_of(size_bytes: int) -> None:
    """Raise `MemoryError` when so much can't be had: the other engine would end the process."""
    try:
        mmap.mmap(-1, size_bytes).close()
    except OSError as error:
        raise MemoryError from error
