"""Where in the original a render comes from, and how large it becomes: arithmetic without pixels."""

from __future__ import annotations

from dataclasses import dataclass

from imagemill.domain.recipe import Mode, Variant

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
Size = tuple[int, int]
"""Width, height."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The region of the original that is taken, the size it is brought to, and the canvas it is centred on."""

    crop: Box
    size: Size
    canvas: Size

    @property
    def ratio(self) -> float:
        """How much of the original's resolution is needed, on the axis that needs more."""
        left, top, right, bottom = self.crop
        return max(self.size[0] / (right - left), self.size[1] / (bottom - top))


def plan(variant: Variant, source: Size) -> Plan:
    """Plan one variant of an original of the size `source`, orientation applied."""
    width, height = source
    whole = (0.0, 0.0, float(width), float(height))
    if variant.mode is Mode.COVER:
        return _cover(variant, source)
    if variant.mode is Mode.SCALE:
        size = _scaled(source, variant.scale or 1.0)
    elif variant.mode is Mode.STRETCH:
        size = _stretched(variant, source)
    else:
        size = _fitted(variant, source)
    canvas = _box_of(variant, source) if variant.mode is Mode.PAD else size
    return Plan(whole, size, canvas)


def largest_ratio(plans: list[Plan]) -> float:
    """Give the share of the original's resolution that is enough for every plan, at most 1."""
    return min(1.0, max(plan.ratio for plan in plans))


def _box_of(variant: Variant, source: Size) -> Size:
    return variant.width or source[0], variant.height or source[1]


def _rounded(numerator: int, denominator: int) -> int:
    """Divide, halves up, never below 1."""
    return max(1, (2 * numerator + denominator) // (2 * denominator))


def _scaled(source: Size, scale: float) -> Size:
    return max(1, int(source[0] * scale + 0.5)), max(1, int(source[1] * scale + 0.5))


def _stretched(variant: Variant, source: Size) -> Size:
    width, height = _box_of(variant, source)
    return (width, height) if variant.upscale else (min(width, source[0]), min(height, source[1]))


def _fitted(variant: Variant, source: Size) -> Size:
    width, height = source
    wide, high = variant.width, variant.height
    # The side that binds comes out exact; the other keeps the aspect as nearly as pixels allow.
    if high is None or (wide is not None and wide * height <= high * width):
        assert wide is not None, "a recipe without any size is refused when it is read"
        size = wide, _rounded(height * wide, width)
    else:
        size = _rounded(width * high, height), high
    enlarged = size[0] > width or size[1] > height
    return source if enlarged and not variant.upscale else size


def _cover(variant: Variant, source: Size) -> Plan:
    width, height = source
    wide, high = _box_of(variant, source)
    if width * high > height * wide:
        crop = height * wide / high, float(height)
    else:
        crop = float(width), width * high / wide
    size = wide, high
    if not variant.upscale and (wide > crop[0] or high > crop[1]):
        # Too small to cover the box: the box's shape is kept, at the original's resolution.
        size = max(1, int(crop[0] + 0.5)), max(1, int(crop[1] + 0.5))
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        return Plan((left, top, left + size[0], top + size[1]), size, size)
    left_edge, top_edge = (width - crop[0]) / 2, (height - crop[1]) / 2
    return Plan((left_edge, top_edge, left_edge + crop[0], top_edge + crop[1]), size, size)
