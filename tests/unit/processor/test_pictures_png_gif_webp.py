"""Golden pixels of PNG, GIF and WebP: the files are written by hand or losslessly, so the values are known."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.unit.processor.handmade import chunk, gif, png
from tests.unit.processor.pictures import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    YELLOW,
    Colour,
    corners,
    encoded,
    near,
    pixel,
    quadrants,
    rendered,
)

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
KINDS = [
    *((GREY, bits) for bits in (1, 2, 4, 8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((kind, bits) for kind in (RGB, GREY_ALPHA, RGB_ALPHA) for bits in (8, 16)),
]
SIZE = (13, 11)
COLOURS = [RED, GREEN, BLUE, YELLOW]


def unscaled(folder: Path, data: bytes, format_: str, **more: Any) -> Image.Image:
    """What a render of the original's own size shows."""
    _, (image,) = rendered(folder, data, format_, {"width": 16000, "height": 16000, "format": "png"}, **more)
    return image.convert("RGBA")


def samples_at(x: int, y: int, kind: int, bits: int) -> list[int]:
    """Different at each place, in every band and over the whole range."""
    top = 2**bits - 1 if kind != PALETTE else min(4, 2**bits) - 1
    return [(x * 37 + y * 11 + band * 71) * 257 % (top + 1) for band in range(SAMPLES[kind])]


def colour_of(samples: list[int], kind: int, bits: int) -> Colour:
    """What the samples mean (PNG specification, section 4.4), in eight bits."""
    if kind == PALETTE:
        return (*COLOURS[samples[0]], 255)
    eight = [round(sample * 255 / (2**bits - 1)) for sample in samples]
    grey = [eight[0]] * 3 + eight[1:] if kind in (GREY, GREY_ALPHA) else eight
    return tuple(grey if len(grey) == 4 else [*grey, 255])


@pytest.mark.parametrize("interlaced", [False, True], ids=["straight", "interlaced"])
@pytest.mark.parametrize(("kind", "bits"), KINDS)
def test_every_kind_and_depth_of_png_shows_its_values(kind: int, bits: int, interlaced: bool, tmp_path: Path) -> None:
    palette = chunk(b"PLTE", bytes(value for colour in COLOURS for value in colour)) if kind == PALETTE else b""
    data = png(SIZE, bits, kind, lambda x, y: samples_at(x, y, kind, bits), interlaced=interlaced, before=palette)

    image = unscaled(tmp_path, data, "png")

    assert image.size == SIZE
    for y in range(SIZE[1]):
        for x in range(SIZE[0]):
            wanted = colour_of(samples_at(x, y, kind, bits), kind, bits)
            if wanted[3] == 0:  # what is invisible has no colour
                assert pixel(image, x, y)[3] == 0
            else:
                assert near(pixel(image, x, y), wanted, 1), (x, y)


@pytest.mark.parametrize(("kind", "bits"), [(kind, bits) for kind, bits in KINDS if kind in (GREY, RGB)])
def test_the_colour_that_stands_for_transparency_is_transparent_at_every_depth(
    kind: int, bits: int, tmp_path: Path
) -> None:
    key = [2**bits - 2 if bits > 1 else 0] * SAMPLES[kind]
    other = [2**bits - 1] * SAMPLES[kind]
    if kind == RGB and bits == 16:  # of 16 bits a band, 8 are compared
        other = [255] * 3
    data = png(
        (8, 4), bits, kind, lambda x, y: key if x < 4 else other,
        before=chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)),
    )  # fmt: skip

    image = unscaled(tmp_path, data, "png")

    assert pixel(image, 1, 1)[3] == 0
    assert near(pixel(image, 6, 1), colour_of(other, kind, bits), 1)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palettes_transparency_is_that_of_each_colour(bits: int, tmp_path: Path) -> None:
    palette = chunk(b"PLTE", bytes([*RED, *GREEN])) + chunk(b"tRNS", bytes([255, 100]))
    data = png((8, 4), bits, PALETTE, lambda x, y: [int(x >= 4)], before=palette)

    image = unscaled(tmp_path, data, "png")

    assert (pixel(image, 1, 1), pixel(image, 6, 1)) == ((*RED, 255), (*GREEN, 100))


def test_of_an_animated_png_the_first_picture_is_shown_and_noted(tmp_path: Path) -> None:
    data = encoded(quadrants(), "PNG", save_all=True, append_images=[Image.new("RGB", (64, 48), WHITE)])

    result, (image,) = rendered(tmp_path, data, "png", {"width": 64, "format": "png"})

    assert corners(image) == [RED, GREEN, BLUE, YELLOW]
    assert result.warnings == ("Only the first of 2 frames is rendered.",)


def test_the_notes_behind_a_pngs_pixels_turn_it_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    late = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))

    image = unscaled(tmp_path, png((8, 4), 8, RGB, lambda x, y: RED if x < 4 else BLUE, behind=late), "png")

    assert image.size == (4, 8)
    assert (pixel(image, 1, 1)[:3], pixel(image, 1, 6)[:3]) == (RED, BLUE)


@pytest.mark.parametrize("transparent", [None, 2])
def test_what_a_gifs_first_frame_does_not_cover_is_transparent(transparent: int | None, tmp_path: Path) -> None:
    data = gif((12, 8), [((4, 2, 4, 4), 1)], transparent=transparent)

    image = unscaled(tmp_path, data, "gif")

    assert image.size == (12, 8)
    covered = [(x, y) for x in range(12) for y in range(8) if 4 <= x < 8 and 2 <= y < 6]
    for x in range(12):
        for y in range(8):
            assert pixel(image, x, y)[3] == (255 if (x, y) in covered else 0)
    assert all(pixel(image, x, y)[:3] == RED for x, y in covered)


def test_a_gifs_transparent_colour_is_transparent(tmp_path: Path) -> None:
    image = unscaled(tmp_path, gif((8, 8), [((0, 0, 8, 8), 2)], transparent=2), "gif")

    assert pixel(image, 4, 4)[3] == 0


def test_of_an_animated_gif_the_first_frame_is_shown_and_noted(tmp_path: Path) -> None:
    data = gif((8, 8), [((0, 0, 8, 8), 1), ((2, 2, 4, 4), 2), ((0, 0, 8, 8), 3)])

    result, (image,) = rendered(tmp_path, data, "gif", {"width": 8, "format": "png"})

    assert pixel(image.convert("RGB"), 4, 4) == RED
    assert result.warnings == ("Only the first of 3 frames is rendered.",)


def test_an_interlaced_gif_has_its_rows_in_order(tmp_path: Path) -> None:
    stripes = Image.new("P", (8, 32))
    stripes.putpalette(bytes(value for row in range(32) for value in (row * 8, 0, 255 - row * 8)))
    for row in range(32):
        stripes.paste(row, (0, row, 8, row + 1))

    image = unscaled(tmp_path, encoded(stripes, "GIF", interlace=1), "gif")

    assert [pixel(image, 3, row)[:3] for row in range(32)] == [(row * 8, 0, 255 - row * 8) for row in range(32)]


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 95}], ids=["lossless", "lossy"])
@pytest.mark.parametrize("alpha", [255, 128, 1])
def test_webp_shows_its_values_with_and_without_alpha(options: dict[str, object], alpha: int, tmp_path: Path) -> None:
    picture = quadrants().convert("RGBA")
    picture.putalpha(alpha)

    image = unscaled(tmp_path, encoded(picture, "WEBP", exact=True, **options), "webp")

    tolerance = 1 if "lossless" in options else 14
    assert all(
        near(found, wanted, tolerance) for found, wanted in zip(corners(image), [RED, GREEN, BLUE, YELLOW], strict=True)
    )
    assert pixel(image, 5, 5)[3] == alpha


@pytest.mark.parametrize("lossless", [False, True])
def test_of_an_animated_webp_the_first_frame_is_shown_and_noted(lossless: bool, tmp_path: Path) -> None:
    others = [Image.new("RGB", (64, 48), WHITE), quadrants().rotate(180)]
    data = encoded(quadrants(), "WEBP", save_all=True, append_images=others, lossless=lossless)

    result, (image,) = rendered(tmp_path, data, "webp", {"width": 64, "format": "png"})

    assert all(near(f, w, 14) for f, w in zip(corners(image), [RED, GREEN, BLUE, YELLOW], strict=True))
    assert result.warnings == ("Only the first of 3 frames is rendered.",)
