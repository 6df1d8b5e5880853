"""Golden pixels of TIFF, BMP, AVIF and ICO: the files are written by hand or losslessly, so the values are known."""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.unit.processor.handmade import bits_of, bmp, tiff, tiff_tags
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

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, LAB = 0, 1, 2, 3, 5, 8
EXTRA_SAMPLES = 338
ORDERS = {"little-endian": "<", "big-endian": ">"}

# Of 16 x 16 pixels, lossless, ten bits a band, made by libaom: red and green above, blue and (400, 612, 800) below;
# in the second that quarter is half transparent (512 of 1023).
AVIF_10_BIT = b64decode(
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAA"
    "AAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAKgAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEA"
    "AGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAAAAAQcGl4aQAAAAADCgoKAAAADGF2MUOBIEAA"
    "AAAAE2NvbHJuY2x4AAIAAgAAgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAAMm1kYXQSAAoIOAz/2cCAgCQyHEQAAIbDNN/XKgBP"
    "BB6SnGeUQLT99U0HORD94oA="
)
AVIF_10_BIT_ALPHA = b64decode(
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAAGGbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAA"
    "AAAAAAAOcGl0bQAAAAAAAQAAACxpbG9jAAAAAEQAAAIAAQAAAAEAAAHDAAAAKgACAAAAAQAAAa4AAAAVAAAAQmlpbmYAAAAAAAIA"
    "AAAaaW5mZQIAAAAAAQAAYXYwMUNvbG9yAAAAABppbmZlAgAAAAACAABhdjAxQWxwaGEAAAAAGmlyZWYAAAAAAAAADmF1eGwAAgAB"
    "AAEAAADDaXBycAAAAJ1pcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAAAAAQcGl4aQAAAAADCgoKAAAADGF2MUOBIEAAAAAAE2NvbHJu"
    "Y2x4AAIAAgAAgAAAAA5waXhpAAAAAAEKAAAADGF2MUOBAFwAAAAAOGF1eEMAAAAAdXJuOm1wZWc6bXBlZ0I6Y2ljcDpzeXN0ZW1z"
    "OmF1eGlsaWFyeTphbHBoYQAAAAAeaXBtYQAAAAAAAAACAAEEAQKDBAACBAEFhgcAAABHbWRhdBIACgUYDP/Z1DIKRAAANrrHnHJA"
    "EhIACgg4DP/ZwICAJDIcRAAAhsM039cqAE8EHpKcZ5RAtP31TQc5EP3igA=="
)


def unscaled(folder: Path, data: bytes, format_: str, **more: Any) -> Image.Image:
    """What a render of the original's own size shows."""
    _, (image,) = rendered(folder, data, format_, {"width": 16000, "height": 16000, "format": "png"}, **more)
    return image.convert("RGBA")


def packed(order: str, pixels: Sequence[Sequence[int]], kind: str) -> bytes:
    return b"".join(struct.pack(f"{order}{len(pixel)}{kind}", *pixel) for pixel in pixels)


@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "zstd"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_every_lossless_compression_of_tiff_shows_its_values(mode: str, compression: str, tmp_path: Path) -> None:
    picture = quadrants().convert(mode)

    image = unscaled(tmp_path, encoded(picture, "TIFF", compression=compression), "tiff")

    assert corners(image) == corners(picture.convert("RGB"))


def test_a_bigtiff_shows_its_values(tmp_path: Path) -> None:
    image = unscaled(tmp_path, encoded(quadrants(), "TIFF", big_tiff=True), "tiff")

    assert corners(image) == corners(quadrants())


def test_jpeg_in_tiff_shows_its_colours(tmp_path: Path) -> None:
    image = unscaled(tmp_path, encoded(quadrants(), "TIFF", compression="jpeg", quality=95), "tiff")

    assert all(near(found, wanted, 6) for found, wanted in zip(corners(image), corners(quadrants()), strict=True))


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_a_fax_in_tiff_is_black_on_white(compression: str, tmp_path: Path) -> None:
    page = Image.new("1", (64, 64), 1)
    page.paste(0, (0, 0, 32, 32))

    image = unscaled(tmp_path, encoded(page, "TIFF", compression=compression), "tiff")

    assert corners(image) == [(0, 0, 0), WHITE, WHITE, WHITE]


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_sixteen_bits_of_colour_in_either_order_of_bytes(order: str, tmp_path: Path) -> None:
    values = [(65535, 0, 0), (0, 32896, 65535), (1000, 20000, 60000)]
    data = tiff(order, tiff_tags((3, 1), (16, 16, 16), RGB), packed(order, values, "H"))

    image = unscaled(tmp_path, data, "tiff")

    for x, value in enumerate(values):
        assert near(pixel(image, x, 0)[:3], tuple(round(part / 257) for part in value), 1)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize(("kind", "whole"), [("B", 255), ("H", 65535)])
def test_separations_in_tiff_are_seen_in_their_colours(kind: str, whole: int, order: str, tmp_path: Path) -> None:
    inks = [(1.0, 0.0, 0.0, 0.0), (0.0, 0.5, 1.0, 0.2), (0.0, 0.0, 0.0, 1.0)]
    values = [[round(ink * whole) for ink in pixel] for pixel in inks]
    bits = (8,) * 4 if kind == "B" else (16,) * 4
    data = tiff(order, tiff_tags((3, 1), bits, SEPARATED), packed(order, values, kind))

    image = unscaled(tmp_path, data, "tiff")

    for x, (*colours, black) in enumerate(inks):
        wanted = tuple(round(255 * (1 - ink) * (1 - black)) for ink in colours)
        assert near(pixel(image, x, 0)[:3], wanted, 2)


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_of_every_depth_is_the_right_way_round(bits: int, photometric: int, tmp_path: Path) -> None:
    top = 2**bits - 1
    values = [0, top, top // 3, top]
    strip = packed("<", [values], "H") if bits == 16 else bits_of([values], bits)

    image = unscaled(tmp_path, tiff("<", tiff_tags((4, 1), (bits,), photometric), strip), "tiff")

    for x, value in enumerate(values):
        grey = round(value * 255 / top)
        wanted = grey if photometric == BLACK_IS_ZERO else 255 - grey
        assert near(pixel(image, x, 0), (wanted, wanted, wanted, 255), 1)


def test_twelve_bits_of_grey_are_not_dark(tmp_path: Path) -> None:
    values = [0, 4095, 2048, 1024]

    data = tiff("<", tiff_tags((4, 1), (12,), BLACK_IS_ZERO), bits_of([values], 12))

    image = unscaled(tmp_path, data, "tiff")

    assert all(near(pixel(image, x, 0)[:1], (round(value / 4095 * 255),), 1) for x, value in enumerate(values))


@pytest.mark.parametrize(
    ("extra", "stored", "shown"), [(1, (50, 100, 0), (100, 199, 0)), (2, (50, 100, 0), (50, 100, 0))]
)
def test_alpha_in_tiff_may_be_multiplied_in(extra: int, stored: Colour, shown: Colour, tmp_path: Path) -> None:
    tags = {**tiff_tags((2, 1), (8,) * 4, RGB), EXTRA_SAMPLES: (3, [extra])}

    image = unscaled(tmp_path, tiff("<", tags, bytes([*stored, 128, 10, 20, 30, 255])), "tiff")

    assert near(pixel(image, 0, 0), (*shown, 128), 1)
    assert pixel(image, 1, 0) == (10, 20, 30, 255)


def test_lab_in_tiff_is_seen_in_its_colours(tmp_path: Path) -> None:
    # L* of 53.24, a* of 80.09, b* of 67.2 under D65 is pure red; white has neither a* nor b*.
    values = bytes([round(54.29 * 2.55), 81, 70, 255, 0, 0, 0, 0, 0])

    image = unscaled(tmp_path, tiff("<", tiff_tags((3, 1), (8,) * 3, LAB), values), "tiff")

    assert near(pixel(image, 0, 0)[:3], RED, 12)
    assert near(pixel(image, 1, 0)[:3], WHITE, 2)
    assert near(pixel(image, 2, 0)[:3], (0, 0, 0), 2)


def test_of_a_tiff_of_pages_the_first_is_shown_and_noted(tmp_path: Path) -> None:
    data = encoded(quadrants(), "TIFF", save_all=True, append_images=[Image.new("RGB", (200, 100)) for _ in range(2)])

    result, (image,) = rendered(tmp_path, data, "tiff", {"width": 64, "format": "png"})

    assert (image.size, corners(image)) == ((64, 48), [RED, GREEN, BLUE, YELLOW])
    assert result.warnings == ("Only the first of 3 frames is rendered.",)


PALETTE_BGR0 = b"".join(bytes([*reversed(colour), 0]) for colour in (RED, GREEN, BLUE, YELLOW))
ROW = [RED, GREEN, BLUE, YELLOW]


def bands(kind: str, colours: Sequence[Colour]) -> bytes:
    """A row of pixels as a BMP of 16, 24 or 32 bits has it."""
    if kind == "24":
        return b"".join(bytes(reversed(colour)) for colour in colours)
    if kind == "32":
        return b"".join(bytes([*reversed(colour), 0]) for colour in colours)
    green = 6 if kind == "565" else 5
    packed_bits = (
        (red >> 3) << (5 + green) | (middle >> (8 - green)) << 5 | blue >> 3 for red, middle, blue in colours
    )
    return b"".join(struct.pack("<H", value) for value in packed_bits)


BMPS = {
    "1 bit": bmp((4, 1), 1, bytes([0b01010000, 0, 0, 0]), palette=PALETTE_BGR0[:8]),
    "4 bits": bmp((4, 1), 4, bytes([0x01, 0x23, 0, 0]), palette=PALETTE_BGR0),
    "8 bits": bmp((4, 1), 8, bytes([0, 1, 2, 3]), palette=PALETTE_BGR0),
    "8 bits, OS/2": bmp((4, 1), 8, bytes([0, 1, 2, 3]), palette=PALETTE_BGR0, header=12),
    "8 bits, run lengths": bmp(
        (4, 1), 8, bytes([1, 0, 1, 1, 1, 2, 1, 3, 0, 1]), palette=PALETTE_BGR0, compression=1
    ),
    "16 bits, 555": bmp((4, 1), 16, bands("555", ROW)),
    "16 bits, 565": bmp((4, 1), 16, bands("565", ROW), masks=(0xF800, 0x07E0, 0x001F)),
    "24 bits": bmp((4, 1), 24, bands("24", ROW)),
    "24 bits, top down": bmp((4, 1), 24, bands("24", ROW), top_down=True),
    "32 bits": bmp((4, 1), 32, bands("32", ROW)),
    "32 bits, empty alpha": bmp(
        (4, 1), 32, bands("32", ROW), masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=108
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BMPS)
def test_every_kind_of_bmp_shows_its_values(kind: str, tmp_path: Path) -> None:
    image = unscaled(tmp_path, BMPS[kind], "bmp")

    wanted = [RED, GREEN, RED, GREEN] if kind == "1 bit" else ROW
    for x, colour in enumerate(wanted):
        assert near(pixel(image, x, 0), (*colour, 255), 8 if kind.startswith("16") else 0)


@pytest.mark.parametrize("top_down", [False, True])
def test_a_bmp_is_the_right_way_up(top_down: bool, tmp_path: Path) -> None:
    first, second = bands("32", [RED]), bands("32", [BLUE])

    image = unscaled(tmp_path, bmp((1, 2), 32, first + second, top_down=top_down), "bmp")

    assert (pixel(image, 0, 0)[:3] == RED) == top_down


def test_alpha_in_bmp_is_kept(tmp_path: Path) -> None:
    pixels = bytes([*reversed(RED), 128, *reversed(BLUE), 255])

    data = bmp((2, 1), 32, pixels, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=108)

    image = unscaled(tmp_path, data, "bmp")

    assert (pixel(image, 0, 0), pixel(image, 1, 0)) == ((*RED, 128), (*BLUE, 255))


@pytest.mark.parametrize(("data", "alpha"), [(AVIF_10_BIT, 255), (AVIF_10_BIT_ALPHA, 128)])
def test_ten_bits_of_avif_show_their_values(data: bytes, alpha: int, tmp_path: Path) -> None:
    image = unscaled(tmp_path, data, "avif")

    assert [pixel(image, x, y) for y in (3, 12) for x in (3, 12)][:3] == [(*RED, 255), (*GREEN, 255), (*BLUE, 255)]
    wanted = tuple(round(value * 255 / 1023) for value in (400, 612, 800))
    assert near(pixel(image, 12, 12), (*wanted, alpha), 1)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_eight_bits_of_avif_show_their_values(mode: str, subsampling: str, tmp_path: Path) -> None:
    picture = quadrants().convert(mode)

    image = unscaled(tmp_path, encoded(picture, "AVIF", quality=95, subsampling=subsampling), "avif")

    wanted = corners(picture.convert("RGB"))
    assert all(near(found, colour, 8) for found, colour in zip(corners(image), wanted, strict=True))


def test_of_an_animated_avif_the_first_frame_is_shown_and_noted(tmp_path: Path) -> None:
    data = encoded(quadrants(), "AVIF", save_all=True, append_images=[Image.new("RGB", (64, 48))], quality=95)

    result, (image,) = rendered(tmp_path, data, "avif", {"width": 64, "format": "png"})

    assert all(near(found, wanted, 8) for found, wanted in zip(corners(image), corners(quadrants()), strict=True))
    assert result.warnings == ("Only the first of 2 frames is rendered.",)


def test_of_an_icons_sizes_the_largest_is_rendered_wherever_it_stands(tmp_path: Path) -> None:
    sizes = {16: RED, 48: GREEN, 32: BLUE}
    pictures = [encoded(Image.new("RGB", (side, side), colour), "PNG") for side, colour in sizes.items()]
    start, entries = 6 + 16 * len(sizes), b""
    for side, data in zip(sizes, pictures, strict=True):
        entries += struct.pack("<BBBBHHII", side, side, 0, 0, 1, 24, len(data), start)
        start += len(data)

    image = unscaled(tmp_path, struct.pack("<HHH", 0, 1, len(sizes)) + entries + b"".join(pictures), "ico")

    assert (image.size, pixel(image, 9, 9)) == ((48, 48), (*GREEN, 255))
