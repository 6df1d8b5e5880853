"""From samples of any depth and kind to eight bits of grey, RGB or CMYK."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageChops

_EIGHT_BIT = ("L", "LA", "RGB", "RGBA", "CMYK")


@dataclass(frozen=True, slots=True)
class Samples:
    """How the samples of an original are to be read, where their mode in Pillow's terms does not say it."""

    bits: int = 16
    """Bits of a sample of whole numbers, where there are more than 8."""
    inverted: bool = False
    """Whether the lowest value is white."""
    key: int | None = None
    """The grey of 16 bits that stands for transparency."""
    covered: tuple[int, int, int, int] | None = None
    """The part of the canvas that the first frame covers; what is around it is transparent. None is all of it."""


AS_THE_MODE_SAYS = Samples()


def eight_bit(image: Image.Image, samples: Samples = AS_THE_MODE_SAYS) -> Image.Image:
    """Bring any mode to L, LA, RGB, RGBA or CMYK."""
    mode = image.mode
    if samples.covered is not None:
        return _cut_out(image.convert("RGBA"), samples.covered)
    if mode in ("1", "L", "P", "RGB") and image.info.get("transparency") is not None:
        return image.convert("RGBA")
    if mode in _EIGHT_BIT:
        return image
    if mode == "P":
        return image.convert("RGBA" if image.palette is not None and image.palette.mode == "RGBA" else "RGB")
    if mode == "F" or mode.startswith("I"):
        return _levelled(image, samples)
    return image.convert({"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(mode, "RGB"))


def _cut_out(image: Image.Image, covered: tuple[int, int, int, int]) -> Image.Image:
    """Make transparent what the first frame does not cover, as browsers do: they ignore GIF's background colour."""
    alpha = Image.new("L", image.size, 0)
    alpha.paste(image.getchannel("A").crop(covered), covered)
    image.putalpha(alpha)
    return image


def _levelled(image: Image.Image, samples: Samples) -> Image.Image:
    """Bring grey of more than 8 bits to 8: converting alone would cut all that is bright to white."""
    wide = image.convert("F")
    factor = 255.0 / _full_scale(image.mode, float(wide.getextrema()[1]), samples)  # type: ignore[arg-type]  # one band
    grey = wide.point(lambda value: value * factor + 0.5).convert("L")
    if samples.inverted:
        grey = ImageChops.invert(grey)
    if samples.key is not None:
        grey.putalpha(_alpha_of(image, samples.key))
    return grey


def _full_scale(mode: str, highest: float, samples: Samples) -> float:
    if mode.startswith("I;16"):
        return float(2 ** min(samples.bits, 16) - 1)
    if mode == "I" and 255.0 < highest <= 65535.0:
        return 65535.0
    if mode == "F" and 0.0 < highest <= 1.0:
        return 1.0
    return max(highest, 255.0)


def _alpha_of(image: Image.Image, key: int) -> Image.Image:
    """Tell the pixels of a picture of 16 bits from those that have exactly the value `key`."""
    pixels = image.tobytes()
    halves = (pixels[0::2], key & 0xFF), (pixels[1::2], key >> 8)
    low, high = (
        Image.frombytes("L", image.size, half).point([0 if value == wanted else 255 for value in range(256)])
        for half, wanted in halves
    )
    return ImageChops.lighter(low, high)
