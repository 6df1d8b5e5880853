from __future__ import annotations

import pytest
from PIL import Image

from processor_svc import resampling
from processor_svc.geometry import Box, Size
from processor_svc.resampling import resample
from tests.unit.processor.pictures import NEEDS_SIMD, photo, psnr

WHOLE: Box = (0.0, 0.0, 320.0, 240.0)
ENGINES = pytest.mark.parametrize(
    "has_simd", [pytest.param(True, id="simd", marks=NEEDS_SIMD), pytest.param(False, id="pillow")]
)


@pytest.fixture
def engine(has_simd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "has_simd", has_simd)


def scene(mode: str) -> Image.Image:
    """A picture of 320 x 240; transparency, where the mode has any, grows from its top to its bottom."""
    picture = photo(320, 240)
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture.convert(mode)


def lanczos(picture: Image.Image, size: Size, box: Box) -> Image.Image:
    """Without rounding on the way: each band in floating point."""
    bands = [
        band.convert("F").resize(size, Image.Resampling.LANCZOS, box=box).point(lambda level: level + 0.5).convert("L")
        for band in picture.split()
    ]
    return Image.merge(picture.mode, bands)


@NEEDS_SIMD
def test_simd_is_used_where_it_is_asked_for() -> None:
    assert resampling.has_simd


@ENGINES
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((256, 192), WHOLE),
        ((300, 225), (0.0, 0.0, 319.5, 239.25)),
        ((64, 48), (19.7, 30.1, 320.0, 240.0)),
        ((500, 400), (10.0, 0.3, 310.0, 240.0)),
        ((32, 24), (0.0, 0.0, 319.7, 239.9)),
        ((20, 240), WHOLE),
        ((1, 240), (319.3, 0.0, 320.0, 240.0)),
    ],
)
def test_a_part_of_a_picture_is_resampled_by_lanczos_kernel(mode: str, size: Size, box: Box) -> None:
    picture = scene(mode)

    resampled = resample(picture, size, box)

    assert (resampled.mode, resampled.size) == (mode, size)
    assert psnr(resampled.convert("RGB"), lanczos(picture, size, box).convert("RGB")) > 47


@ENGINES
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("mode", ["LA", "RGBA"])  # the first is Pillow's alone
def test_what_is_transparent_lends_no_colour_to_its_neighbours(mode: str) -> None:
    picture = Image.new("RGBA", (320, 240), (200, 100, 50, 255))
    picture.paste((255, 255, 255, 0), (0, 0, 160, 240))
    opaque = Image.new("RGBA", (1, 1), (200, 100, 50, 255)).convert(mode).getpixel((0, 0))
    assert isinstance(opaque, tuple)

    resampled = resample(picture.convert(mode), (65, 48), WHOLE)

    edge = resampled.crop((30, 0, 36, 48))
    pixels = [edge.getpixel((x, y)) for x in range(edge.width) for y in range(edge.height)]
    seen = [pixel for pixel in pixels if isinstance(pixel, tuple) and pixel[-1] > 32]
    assert seen
    assert all(
        abs(found - wanted) <= 24 for pixel in seen for found, wanted in zip(pixel[:-1], opaque[:-1], strict=True)
    )


@NEEDS_SIMD
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(256, 192), (64, 48), (16, 12)])
def test_both_engines_make_the_same_picture_but_for_rounding(
    mode: str, size: Size, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, box = scene(mode), (3.3, 0.0, 320.0, 239.6)
    by_simd = resample(picture, size, box)

    monkeypatch.setattr(resampling, "has_simd", False)
    by_pillow = resample(picture, size, box)

    ground = Image.new("RGBA", size, "white")
    one, other = (Image.alpha_composite(ground, each.convert("RGBA")).convert("RGB") for each in (by_simd, by_pillow))
    assert by_simd.mode == by_pillow.mode == mode
    assert psnr(one, other) > 50
    assert one != other
