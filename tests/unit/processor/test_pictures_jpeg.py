"""Golden pixels of JPEG in its colour models; what a file means is computed here, from the standards' formulas."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.processor.pictures import Colour, encoded, near, pixel, quadrants, rendered

INKS: list[Colour] = [(255, 0, 0, 0), (0, 200, 0, 40), (30, 60, 90, 120), (0, 0, 0, 255)]
"""Cyan, magenta, yellow, black, 255 being all of it: one for each quarter."""


def shown(inks: Colour) -> Colour:
    """What paper without a profile shows: each ink takes its share of the light, and black takes of all."""
    *colours, black = inks
    return tuple(round((255 - ink) * (255 - black) / 255) for ink in colours)


def quarters(mode: str, values: list[Colour]) -> Image.Image:
    image = Image.new(mode, (64, 64))
    for number, value in enumerate(values):
        left, top = number % 2 * 32, number // 2 * 32
        image.paste(value, (left, top, left + 32, top + 32))
    return image


def of_quarters(folder: Path, data: bytes) -> tuple[str, list[Colour]]:
    result, (image,) = rendered(folder, data, "jpeg", {"width": 64, "format": "png"})
    plain = image.convert("RGB")
    return result.source.mode, [pixel(plain, x, y) for y in (16, 48) for x in (16, 48)]


def stored(image: Image.Image, *, progressive: bool = False) -> bytes:
    """A JPEG whose four components are the image's bands as they are, marked as Adobe marks it."""
    inverted = Image.eval(image, lambda value: 255 - value)  # the encoder inverts once more
    return encoded(inverted, "JPEG", quality=100, subsampling=0, progressive=progressive)


def marked(data: bytes, transform: int) -> bytes:
    """The same file with another colour transform in Adobe's segment (APP14)."""
    at = data.index(b"Adobe") + 11
    return data[:at] + bytes([transform]) + data[at + 1 :]


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_cmyk_as_adobe_stores_it_inverted_is_seen_in_its_colours(progressive: bool, tmp_path: Path) -> None:
    data = stored(quarters("CMYK", [tuple(255 - ink for ink in inks) for inks in INKS]), progressive=progressive)

    mode, found = of_quarters(tmp_path, data)

    assert mode == "CMYK"
    for colour, inks in zip(found, INKS, strict=True):
        assert near(colour, shown(inks), 4)


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_ycck_is_seen_in_its_colours(progressive: bool, tmp_path: Path) -> None:
    def ycck(inks: Colour) -> Colour:
        cyan, magenta, yellow, black = inks
        luma = 0.299 * cyan + 0.587 * magenta + 0.114 * yellow  # JFIF 1.02, with inks in the place of light
        blue, red = (yellow - luma) * 0.5 / 0.886 + 128, (cyan - luma) * 0.5 / 0.701 + 128
        return (*(max(0, min(255, round(value))) for value in (luma, blue, red)), 255 - black)

    data = marked(stored(quarters("CMYK", [ycck(inks) for inks in INKS]), progressive=progressive), 2)

    mode, found = of_quarters(tmp_path, data)

    assert mode == "CMYK"
    for colour, inks in zip(found, INKS, strict=True):
        assert near(colour, shown(inks), 4)


COLOURS: list[Colour] = [(250, 30, 20), (10, 200, 90), (40, 60, 220), (128, 128, 128)]


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_every_subsampling_shows_the_colours(subsampling: int, progressive: bool, tmp_path: Path) -> None:
    data = encoded(
        quarters("RGB", COLOURS), "JPEG", quality=98, subsampling=subsampling, progressive=progressive, optimize=True
    )

    _, found = of_quarters(tmp_path, data)

    assert all(near(colour, wanted, 4) for colour, wanted in zip(found, COLOURS, strict=True))


def test_rgb_that_was_never_made_ycc_is_not_taken_for_it(tmp_path: Path) -> None:
    data = encoded(quarters("RGB", COLOURS), "JPEG", quality=98, keep_rgb=True)

    _, found = of_quarters(tmp_path, data)

    assert all(near(colour, wanted, 4) for colour, wanted in zip(found, COLOURS, strict=True))


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_grey_has_its_values(progressive: bool, tmp_path: Path) -> None:
    data = encoded(quarters("L", [(0,), (90,), (180,), (255,)]), "JPEG", quality=98, progressive=progressive)

    mode, found = of_quarters(tmp_path, data)

    assert mode == "L"
    assert all(near(colour, (wanted,) * 3, 2) for colour, wanted in zip(found, (0, 90, 180, 255), strict=True))


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_what_is_decoded_reduced_has_the_same_colours(mode: str, tmp_path: Path) -> None:
    big = quadrants(1600, 1200).convert(mode)

    _, (whole,) = rendered(tmp_path, encoded(big, "JPEG"), "jpeg", {"width": 1600, "format": "png"})
    _, (small,) = rendered(tmp_path, encoded(big, "JPEG"), "jpeg", {"width": 100, "format": "png"})

    for x, y in ((400, 300), (1200, 300), (400, 900), (1200, 900)):
        wanted = pixel(whole.convert("RGB"), x, y)
        assert near(pixel(small.convert("RGB"), x // 16, y // 16), wanted, 2)


def test_the_second_picture_in_a_cameras_file_is_no_frame(tmp_path: Path) -> None:
    file = io.BytesIO()
    quadrants().save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (320, 240))])

    result, _ = rendered(tmp_path, file.getvalue(), "jpeg", {"width": 32})

    assert (result.source.format, result.source.width, result.warnings) == ("jpeg", 64, ())
