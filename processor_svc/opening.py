"""From bytes to an opened original: what it is, how its samples are to be read, and whether it is small enough."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass

from PIL import AvifImagePlugin, IcoImagePlugin, Image, ImageFile, TiffImagePlugin, WebPImagePlugin

from imagemill.domain.failures import FailureCode, PermanentError
from processor_svc import metadata
from processor_svc.geometry import Size
from processor_svc.jobs import RenderJob, SourceFacts
from processor_svc.pixels import QUARTER_TURNS, TURNS, Appearance
from processor_svc.samples import Samples

# Pillow registers these formats only when they are asked for, and then all forty others with them.
_PLUGINS = (AvifImagePlugin, IcoImagePlugin, TiffImagePlugin, WebPImagePlugin)
_LAZY_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_FORMATS = (*_LAZY_FORMATS, "ICO")  # an icon is decoded when it is opened
_JPEGS = frozenset({"JPEG", "MPO"})

_PHOTOMETRIC, _BITS_PER_SAMPLE = 262, 258
_WHITE_IS_ZERO = 0
# In the units of the file, which has 2, 4 or 16 bits a sample, the PNG plugin gives the colour that is transparent.
_KEY_FACTORS = {"L;2": 85, "L;4": 17}


@dataclass(frozen=True, slots=True)
class Original:
    """An opened original: its facts are known, its pixels may not be decoded yet."""

    image: Image.Image
    facts: SourceFacts
    appearance: Appearance
    exif: Image.Exif
    warnings: tuple[str, ...]


def open_original(data: bytes, job: RenderJob) -> Original:
    """Open a picture; all but JPEG, which decodes better when the size wanted is known, is decoded, too.

    Raises whatever Pillow does, and `PermanentError` with TOO_MANY_PIXELS before anything is decoded.
    """
    _refuse_canvas(data, job.max_pixels)
    image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
    name = "jpeg" if image.format in _JPEGS else str(image.format).lower()
    if isinstance(image, IcoImagePlugin.IcoImageFile):
        image = _largest_icon(image)
    frames = 1 if name == "jpeg" else int(getattr(image, "n_frames", 1))
    if image.width * image.height * frames > job.max_pixels:
        raise too_many_pixels(image.size, frames, job.max_pixels)
    mode = image.mode
    samples = Samples()
    if isinstance(image, ImageFile.ImageFile) and name == "jpeg":
        # Whole: a decoder that is handed 64 KiB at a time begins a row anew at each seam, 2 % of its work.
        image.decodermaxblock = len(data)
    if name != "jpeg":
        samples = _samples_of(image, name)
        # Only JPEG decodes better when the size wanted is known; PNG may keep its EXIF behind the pixels.
        image.load()
        image = _opaque_if_empty(image) if name == "bmp" else image
    exif, orientation, found = _exif_of(image)
    # Pillow has already turned TIFF upright.
    orientation = 1 if name == "tiff" else orientation
    width, height = image.size[::-1] if orientation in QUARTER_TURNS else image.size
    facts = SourceFacts(name, mode, width, height, frames, found)
    profile = image.info.get("icc_profile") or _implied_profile(data, name, exif)
    appearance = Appearance((width, height), orientation, profile, samples)
    return Original(image, facts, appearance, exif, _remarks(name, frames, job))


def announced_size(data: bytes) -> Size | None:
    """Read the size that was refused, without decoding; None where the file does not give it."""
    Image.MAX_IMAGE_PIXELS = None
    with suppress(Exception), Image.open(io.BytesIO(data), formats=_LAZY_FORMATS) as image:
        return image.size
    return None


def too_many_pixels(size: Size | None, frames: int, limit: int) -> PermanentError:
    """Make the refusal of a picture above the limit."""
    shape = f"{size[0]:,} x {size[1]:,} pixels" if size else "more pixels than the limit"
    if frames > 1 and size:
        shape = f"{frames:,} frames of {shape}, {size[0] * size[1] * frames:,} in all"
    return PermanentError(FailureCode.TOO_MANY_PIXELS, f"The picture has {shape}; the limit is {limit:,} pixels.")


def _remarks(name: str, frames: int, job: RenderJob) -> tuple[str, ...]:
    remarks = []
    if job.format and name != job.format:
        remarks.append(f"The first bytes promise {job.format.upper()}, the content is {name.upper()}.")
    if frames > 1:
        remarks.append(f"Only the first of {frames} frames is rendered.")
    return tuple(remarks)


def _refuse_canvas(data: bytes, limit: int) -> None:
    """Refuse a WebP by its extended header (RFC 9649, section 2.7): its decoder takes two canvases when it opens."""
    if data[:4] != b"RIFF" or data[12:16] != b"VP8X":
        return
    size = 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if size[0] * size[1] > limit:
        raise too_many_pixels(size, 1, limit)


def _largest_icon(opened: IcoImagePlugin.IcoImageFile) -> Image.Image:
    # What `opened` has decoded lacks the palette's transparency and the colour profile.
    icon = opened.ico.frame(0)
    icon.load()
    return _opaque_if_empty(icon)


def _opaque_if_empty(image: Image.Image) -> Image.Image:
    """Old icons and bitmaps of 32 bits leave the alpha channel empty and mean an opaque picture."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema()[1] == 0:
        return image.convert("RGB")
    return image


def _samples_of(image: Image.Image, name: str) -> Samples:
    """Find out what the plugin does not tell of how samples are to be read, before they are decoded."""
    layout = image.tile[0] if isinstance(image, ImageFile.ImageFile) and image.tile else None
    if name == "png" and layout is not None:
        return _png_samples(image, layout.args)
    if name == "gif" and layout is not None and layout.extents != (0, 0, *image.size):
        return Samples(covered=layout.extents)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))
        inverted = image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode not in ("1", "L")
        return Samples(bits=bits[0] if isinstance(bits, tuple) else bits, inverted=inverted)
    return Samples()


def _png_samples(image: Image.Image, layout: object) -> Samples:
    key = image.info.get("transparency")
    if isinstance(key, int) and layout in _KEY_FACTORS:
        image.info["transparency"] = key * _KEY_FACTORS[str(layout)]
    elif isinstance(key, int) and layout == "I;16B":
        del image.info["transparency"]
        return Samples(key=key)
    elif isinstance(key, tuple) and layout == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)
    return Samples()


def _implied_profile(data: bytes, name: str, exif: Image.Exif) -> bytes | None:
    if name in ("avif", "png"):
        from processor_svc import wide_gamut

        return wide_gamut.of_code_points(data, name)
    if name != "jpeg" or not len(exif):
        return None
    with suppress(Exception):  # unreadable notes are dropped
        if exif.get_ifd(metadata.EXIF_IFD).get(metadata.COLOUR_SPACE) == metadata.UNCALIBRATED:
            from processor_svc import wide_gamut

            return wide_gamut.of_camera(exif.get_ifd(metadata.INTEROP_IFD))
    return None


def _exif_of(image: Image.Image) -> tuple[Image.Exif, int, dict[str, str]]:
    """Read the EXIF; what is unreadable counts as absent, for a picture is worth more than its notes."""
    try:
        exif = image.getexif()
        orientation = exif.get(metadata.ORIENTATION, 1)
        found = metadata.recorded(exif, exif.get_ifd(metadata.EXIF_IFD)) if len(exif) else {}
    except MemoryError:
        raise
    except Exception:
        return Image.Exif(), 1, {}
    return exif, orientation if orientation in TURNS else 1, found
