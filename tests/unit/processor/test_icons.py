from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.processor.pictures import corners, encoded, pixel, quadrants, rendered


@pytest.mark.parametrize("bitmap_format", ["png", "bmp"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1"])
def test_the_largest_picture_of_an_icon_is_rendered(mode: str, bitmap_format: str, tmp_path: Path) -> None:
    picture = quadrants(64, 64).convert(mode)
    data = encoded(picture, "ICO", bitmap_format=bitmap_format, sizes=[(16, 16), (64, 64), (32, 32)])

    result, (image,) = rendered(tmp_path, data, "ico", {"width": 64, "format": "source"})

    assert (result.source.format, result.source.width, result.source.height) == ("ico", 64, 64)
    assert result.renders[0].format == "png"
    assert corners(image) == corners(picture)


@pytest.mark.parametrize(("mode", "bitmap_format"), [("RGBA", "png"), ("RGBA", "bmp"), ("P", "png")])
def test_an_icons_transparency_is_kept(mode: str, bitmap_format: str, tmp_path: Path) -> None:
    picture = quadrants(64, 64).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 32, 32))
    data = encoded(picture.quantize() if mode == "P" else picture, "ICO", bitmap_format=bitmap_format)

    _, (image,) = rendered(tmp_path, data, "ico", {"width": 64, "format": "png"})

    assert image.mode == "RGBA"
    assert image.getchannel("A").getextrema() == (0, 255)
    assert pixel(image, 8, 8)[3] == 0


def test_an_icon_whose_alpha_was_never_filled_is_opaque(tmp_path: Path) -> None:
    picture = quadrants(64, 64).convert("RGBA")
    picture.putalpha(0)

    _, (image,) = rendered(
        tmp_path, encoded(picture, "ICO", bitmap_format="bmp"), "ico", {"width": 64, "format": "png"}
    )

    assert corners(image) == corners(quadrants(64, 64))
