"""From decoded pixels to pictures ready to encode: colour, orientation, reduction, background."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from imagemill.domain.colours import rgb_of
from imagemill.domain.recipe import Format, Variant, output_format
from processor_svc.geometry import Box, Plan, Size
from processor_svc.resampling import is_quick, resample
from processor_svc.samples import Samples, eight_bit

_GAP = 1.5
"""How much larger than the largest render a cheap reduction leaves a picture, for whatever is done to its pixels
before they are resampled; at 1.5 the result is within 50 dB of resampling from full size."""
_WORTH_IT, _LARGE = 4, 25_000_000
"""From this factor, and above so many pixels, a transparent picture is worth reducing even if nothing but resampling
follows. Below, reducing it takes longer than all that the quicker engine then does; opaque ones are helped by it."""
_WHITE = "#ffffff"

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by its EXIF orientation (CIPA DC-008, table 6)."""
QUARTER_TURNS = frozenset({5, 6, 7, 8})
_STARTS_AT_RIGHT = frozenset({2, 3, 6, 7})
_STARTS_AT_BOTTOM = frozenset({3, 4, 7, 8})


@dataclass(frozen=True, slots=True)
class Layer:
    """A reduced form of the whole original: `box` is the part of `image` that it fills.

    Reductions round sizes up, so the last column and row may be only partly the picture's.
    """

    image: Image.Image
    box: Box

    @property
    def size(self) -> tuple[float, float]:
        """The picture's width and height in this layer's pixels."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]

    def region(self, crop: Box, source: Size) -> Box:
        """Give where `crop`, in pixels of an original of the size `source`, lies in this layer."""
        left, top = self.box[:2]
        x, y = self.size[0] / source[0], self.size[1] / source[1]
        # Sums of rounded floats may pass the edge by a hair, which Pillow refuses.
        return (
            max(0.0, left + crop[0] * x),
            max(0.0, top + crop[1] * y),
            min(float(self.image.width), left + crop[2] * x),
            min(float(self.image.height), top + crop[3] * y),
        )


@dataclass(frozen=True, slots=True)
class Appearance:
    """How an original's pixels are meant to be seen."""

    size: Size
    """Width and height, upright."""
    orientation: int
    profile: bytes | None
    """The ICC profile of its colours."""
    samples: Samples


@dataclass(frozen=True, slots=True)
class Prepared:
    """Pixels ready to be resized: grey or RGB, with or without alpha, upright."""

    layer: Layer
    profile: bytes | None
    """The ICC profile that renders are to carry; None for sRGB."""
    remark: str
    """What was wrong with the original's profile; empty if nothing was."""


def prepare(layer: Layer, appearance: Appearance, need: float, *, keep_profile: bool = False) -> Prepared:
    """Prepare decoded pixels; colours become sRGB, unless RGB is to keep its profile.

    Of the original's resolution at least the share `need` is left, and not much more.
    """
    image, box = eight_bit(layer.image, appearance.samples), layer.box
    stored = appearance.size[::-1] if appearance.orientation in QUARTER_TURNS else appearance.size
    factor = int(layer.size[0] / (stored[0] * need) / _GAP)
    if factor >= 2 and not (factor < _WORTH_IT and _is_quicker_whole(image, appearance)):
        image = image.reduce(factor)
        box = (0.0, 0.0, box[2] / factor, box[3] / factor)
    image, box = _upright(image, box, appearance.orientation)
    image, profile, remark = _coloured(image, appearance.profile, keep_profile)
    image = _without_idle_alpha(image)
    # The original's info (profile, comment, transparency) would find its way into what is saved.
    image.info = {}
    return Prepared(Layer(image, box), profile, remark)


def resize_all(base: Layer, plans: list[Plan], source: Size) -> list[Image.Image]:
    """Resize for every plan, the largest first, each from the smallest picture that still has its detail."""
    layers = [base]
    sized: dict[tuple[Box, Size], Image.Image] = {}
    whole = (0.0, 0.0, float(source[0]), float(source[1]))
    for planned in sorted(plans, key=lambda each: each.size[0] * each.size[1], reverse=True):
        key = (planned.crop, planned.size)
        if key in sized:
            continue
        sized[key] = picture = _resized(_smallest_sufficient(layers, planned, source), planned, source)
        if planned.crop == whole:
            layers.append(Layer(picture, (0.0, 0.0, float(picture.width), float(picture.height))))
    return [sized[planned.crop, planned.size] for planned in plans]


def compose(image: Image.Image, variant: Variant, canvas: Size, source_format: str) -> Image.Image:
    """Put a picture on its background and canvas; transparency stays where nothing forbids it."""
    opaque_only = output_format(variant, source_format) is Format.JPEG
    has_alpha = image.mode in ("LA", "RGBA")
    flatten = has_alpha and (opaque_only or variant.background is not None)
    if not flatten and canvas == image.size:
        return image
    offset = (canvas[0] - image.width) // 2, (canvas[1] - image.height) // 2
    if has_alpha and not flatten:
        ground = Image.new("RGBA", canvas, (0, 0, 0, 0))
        ground.paste(image.convert("RGBA"), offset)
        return ground
    ground = Image.new("RGB", canvas, rgb_of(variant.background or _WHITE))
    ground.paste(image.convert("RGB"), offset, image.getchannel("A") if has_alpha else None)
    return ground


def _upright(image: Image.Image, box: Box, orientation: int) -> tuple[Image.Image, Box]:
    """Apply the EXIF orientation to a picture and to the part that it fills."""
    if orientation not in TURNS:
        return image, box
    turned = image.transpose(TURNS[orientation])
    width, height = box[2], box[3]
    if orientation in QUARTER_TURNS:
        width, height = height, width
    left = turned.width - width if orientation in _STARTS_AT_RIGHT else 0.0
    top = turned.height - height if orientation in _STARTS_AT_BOTTOM else 0.0
    return turned, (left, top, left + width, top + height)


def _is_quicker_whole(image: Image.Image, appearance: Appearance) -> bool:
    is_ready = appearance.orientation not in TURNS and not appearance.profile
    return is_ready and image.mode == "RGBA" and image.width * image.height <= _LARGE and is_quick(image)


def _coloured(image: Image.Image, profile: bytes | None, keep: bool) -> tuple[Image.Image, bytes | None, str]:
    if profile:
        # Here, because most pictures have none and every process waits for what is imported at its start.
        from processor_svc.profiles import coloured

        colours = coloured(image, profile, keep=keep)
        return colours.image, colours.profile, colours.remark
    return (image.convert("RGB") if image.mode == "CMYK" else image), None, ""


def _without_idle_alpha(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "RGBA") or image.getchannel("A").getextrema()[0] != 255:
        return image
    return image.convert("RGB" if image.mode == "RGBA" else "L")


def _smallest_sufficient(layers: list[Layer], planned: Plan, source: Size) -> Layer:
    def suffices(layer: Layer) -> bool:
        left, top, right, bottom = layer.region(planned.crop, source)
        # Half a pixel of rounding in a larger render is no lack of detail.
        return right - left >= planned.size[0] - 0.5 and bottom - top >= planned.size[1] - 0.5

    return min((layer for layer in layers[1:] if suffices(layer)), key=lambda layer: layer.size, default=layers[0])


def _resized(layer: Layer, planned: Plan, source: Size) -> Image.Image:
    region = layer.region(planned.crop, source)
    left, top, right, bottom = (round(edge) for edge in region)
    is_whole = all(abs(edge - whole) < 1e-6 for edge, whole in zip(region, (left, top, right, bottom), strict=True))
    if is_whole and (right - left, bottom - top) == planned.size:
        return layer.image.crop((left, top, right, bottom))
    return resample(layer.image, planned.size, region)
