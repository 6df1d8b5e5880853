"""One picture of every kind through the whole mill: what it shows, and what the manifest says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.support.house import House
from tests.support.picture_server import picture
from tests.unit.processor.handmade import bmp, gif, png
from tests.unit.processor.pictures import BLUE, GREEN, RED, YELLOW, corners, encoded, near, photo, pixel, quadrants
from tests.unit.processor.test_colour_profiles import P3
from tests.unit.processor.test_metadata import ORIGINALS
from tests.unit.processor.test_pictures_tiff_bmp_avif import AVIF_10_BIT

PICTURE = quadrants()
FRAMES = [Image.new("RGB", PICTURE.size, "white")] * 2
COLOURS = [RED, GREEN, BLUE, YELLOW]


def oriented() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(PICTURE.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)


@dataclass(frozen=True, slots=True)
class Kind:
    """A picture of four quarters, and what the manifest has to say of it."""

    data: bytes
    format: str
    size: tuple[int, int] = PICTURE.size
    warning: str = ""
    tolerance: int = 8


FIRST = "Only the first of 3 frames is rendered."
KINDS: Mapping[str, Kind] = {
    "baseline.jpg": Kind(encoded(PICTURE, "JPEG"), "jpeg"),
    "progressive.jpg": Kind(encoded(PICTURE, "JPEG", progressive=True), "jpeg"),
    "cmyk.jpg": Kind(encoded(PICTURE.convert("CMYK"), "JPEG"), "jpeg", tolerance=12),
    "turned.jpg": Kind(oriented(), "jpeg"),
    "endless.jpg": Kind(
        encoded(PICTURE, "JPEG")[:-2], "jpeg", warning="The file lacks its end marker; the picture is complete."
    ),
    "palette.png": Kind(encoded(PICTURE.quantize(4), "PNG"), "png"),
    "deep.png": Kind(
        png((64, 48), 16, 2, lambda x, y: [value * 257 for value in COLOURS[(y >= 24) * 2 + (x >= 32)]]), "png"
    ),
    "moving.png": Kind(encoded(PICTURE, "PNG", save_all=True, append_images=FRAMES), "png", warning="Only the first"),
    "still.gif": Kind(encoded(PICTURE, "GIF"), "gif"),
    "still.webp": Kind(encoded(PICTURE, "WEBP", quality=95), "webp", tolerance=14),
    "moving.webp": Kind(
        encoded(PICTURE, "WEBP", save_all=True, append_images=[FRAMES[0], PICTURE.rotate(180)], lossless=True),
        "webp",
        warning=FIRST,
    ),
    "page.tif": Kind(encoded(PICTURE, "TIFF", compression="tiff_lzw"), "tiff"),
    "pages.tif": Kind(encoded(PICTURE, "TIFF", save_all=True, append_images=FRAMES), "tiff", warning=FIRST),
    "plain.bmp": Kind(encoded(PICTURE, "BMP"), "bmp"),
    "plain.avif": Kind(encoded(PICTURE, "AVIF", quality=95), "avif", tolerance=10),
    "plain.ico": Kind(encoded(quadrants(48, 48), "ICO", sizes=[(16, 16), (48, 48)]), "ico", size=(48, 48)),
    "wrong-name.gif": Kind(encoded(PICTURE, "PNG"), "png", warning="Its name ends in '.gif'"),
}


def test_every_kind_is_rendered_and_described(house: House) -> None:
    house.write_list(
        [
            house.server.route(f"/{name}", picture(kind.data, f"image/{kind.format}".replace("ico", "x-icon")))
            for name, kind in KINDS.items()
        ]
    )

    ended = house.run("--retries", "0")

    assert ended.code == 0, ended.said
    assert ended.err == ""
    for row, (name, kind) in zip(house.manifest(), KINDS.items(), strict=True):
        assert row["source"].endswith(name)
        assert (row["format"], int(row["width"]), int(row["height"])) == (kind.format, *kind.size), name
        assert kind.warning in row["warnings"] if kind.warning else row["warnings"] == "", name
        with Image.open(house.out / row["fit-256"]) as image:
            assert image.size == kind.size, name
            found = corners(image)
        assert all(near(a, b, kind.tolerance + 6) for a, b in zip(found, COLOURS, strict=True)), (name, found)


NOT_RENDERED = {
    "SVG": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>" + b" " * 100,
    "HEIC": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200),
    "Photoshop": b"8BPS\x00\x01" + bytes(200),
    "JPEG XL": b"\xff\x0a" + bytes(200),
    "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(200),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(200),
    "PDF": b"%PDF-1.7\n" + bytes(200),
    "a video": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42" + bytes(200),
    "Netpbm": b"P6\n64 64\n255\n" + bytes(200),
    "a camera's raw file": b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(200),
}


def test_formats_outside_the_list_are_refused_by_name(house: House) -> None:
    house.write_list(
        [house.server.route(f"/{number}.jpg", picture(data)) for number, data in enumerate(NOT_RENDERED.values())]
    )

    house.run("--retries", "0")

    for row, name in zip(house.manifest(), NOT_RENDERED, strict=True):
        assert row["error_code"] == "FORMAT_UNSUPPORTED"
        assert row["error_message"].startswith(f"The file is {name}, ")


@pytest.mark.parametrize("choice", ["convert", "keep"])
def test_a_recipe_says_what_becomes_of_profiles_and_notes(choice: str, house: House, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    variants = [{"name": "fit-256", "width": 64, "format": "png"}]
    metadata = "keep" if choice == "keep" else "strip"
    recipe.write_text(
        json.dumps({"variants": variants, "color_profile": choice, "metadata": metadata}), encoding="utf-8"
    )
    wide = encoded(Image.new("RGB", (64, 64), (200, 100, 50)), "PNG", icc_profile=P3)
    urls = [house.server.route("/wide.png", picture(wide, "image/png"))]
    urls.append(house.server.route("/notes.jpg", picture(ORIGINALS["jpeg"])))
    house.write_list(urls)

    ended = house.run("--recipe", str(recipe))

    assert ended.code == 0, ended.said
    shown, noted = (house.out / row["fit-256"] for row in house.manifest())
    with Image.open(shown) as image:
        assert (image.info.get("icc_profile") == P3) == (choice == "keep")
        assert (image.getpixel((9, 9)) == (200, 100, 50)) == (choice == "keep")
    with Image.open(noted) as image:
        assert image.getexif().get(0x013B) == ("An Artist" if choice == "keep" else None)
    assert b"SERIAL-4711" not in noted.read_bytes()


BGRA = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def test_transparency_of_each_kind_is_put_on_white(house: House) -> None:
    unseen = photo(64, 64)
    unseen.putalpha(0)
    clear = {
        "a.gif": gif((64, 64), [((0, 0, 32, 64), 1)], transparent=2),
        "a.png": encoded(Image.new("RGBA", (64, 64), (255, 0, 0, 0)), "PNG"),
        "a.webp": encoded(unseen, "WEBP", exact=True, lossless=True),
        "a.bmp": bmp((32, 1), 32, bytes([0, 0, 255, 255] * 16 + [0, 0, 255, 0] * 16), masks=BGRA, header=108),
    }
    types = {name: f"image/{name[2:]}" for name in clear}
    house.write_list([house.server.route(f"/{name}", picture(data, types[name])) for name, data in clear.items()])

    ended = house.run("--retries", "0")

    assert ended.code == 0, ended.said
    for row in house.manifest():
        with Image.open(house.out / row["fit-256"]) as image:
            assert near(pixel(image.convert("RGB"), image.width - 1, 0), (255, 255, 255), 4)


def test_the_ten_bits_of_an_avif_arrive(house: House) -> None:
    house.write_list([house.server.route("/ten.avif", picture(AVIF_10_BIT, "image/avif"))])

    assert house.run("--recipe", "half").code == 0

    (row,) = house.manifest()
    with Image.open(house.out / row["half"]) as image:
        assert (image.format, image.size) == ("AVIF", (8, 8))
