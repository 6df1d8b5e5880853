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

GAP = 1.5
"""How much larger than the target a cheap reduction leaves a picture for the resampling that follows: at 1.5
the result is within 50 dB of resampling from full size."""

_MODES = frozenset({"L", "RGB", "RGBA"})
_PILLOW = "13"
"""The version of Pillow whose pixels are known to lie where the other engine looks for them."""
_BYTES_PER_PIXEL = 4

has_simd = simd is not None and PIL.__version__.partition(".")[0] == _PILLOW


def resample(image: Image.Image, size: Size, box: Box) -> Image.Image:
    """Bring the part `box` of a picture to a size, in pixels; transparency weighs the colours.

    Raises `MemoryError`.
    """
    if has_simd and image.mode in _MODES:
        return _resampled_by_simd(image, size, box)
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=GAP)


def _resampled_by_simd(image: Image.Image, size: Size, box: Box) -> Image.Image:
    resized = Image.new(image.mode, size)
    # It resamples columns first, of the whole picture, and for transparency makes a copy of its own.
    between = image.width * size[1]
    weighted = image.width * image.height if image.mode == "RGBA" else 0
    _make_sure_of((between + weighted) * _BYTES_PER_PIXEL)
    options = simd.ResizeOptions(
        resize_alg=simd.ResizeAlg.convolution(simd.FilterType.lanczos3), crop_box=_crop(box, image.size)
    )
    # A resizer keeps what it needed for the largest picture it saw; so each picture has its own.
    simd.Resizer().resize_pil(image, resized, options)
    return resized


def _crop(box: Box, size: Size) -> simd.CropBox:
    left, top, right, bottom = box
    return simd.CropBox(left, top, _length(left, right, size[0]), _length(top, bottom, size[1]))


def _length(start: float, end: float, limit: int) -> float:
    """Give the distance, so that start and distance together are not beyond the limit, rounded as they may be."""
    return end if start == 0.0 else min(end - start, math.nextafter(limit - start, 0.0))


def _make_sure_of(size_bytes: int) -> None:
    """Raise `MemoryError` when so much can't be had: the other engine would end the process."""
    try:
        mmap.mmap(-1, size_bytes).close()
    except OSError as error:
        raise MemoryError from error
