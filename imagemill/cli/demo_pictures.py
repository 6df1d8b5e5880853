"""The demo's pictures: photo-like gradients and shapes, the same in every run."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 1280, 960

Colour = tuple[int, int, int]


def landscape(seed: int, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Paint a sky, a sun and some hills; each seed gives another picture."""
    dice = random.Random(seed)
    picture = _gradient(width, height, _colour(dice, 120, 255), _colour(dice, 60, 200))
    draw = ImageDraw.Draw(picture)
    _sun(draw, dice, width, height)
    for distance in range(3):
        _hills(draw, dice, width, height, distance)
    return picture.filter(ImageFilter.GaussianBlur(1.2))


def jpeg(picture: Image.Image, quality: int = 88, orientation: int = 1) -> bytes:
    """Encode as JPEG; an `orientation` other than 1 asks its viewer to turn the picture (EXIF, tag 274)."""
    exif = Image.Exif()
    exif[274] = orientation
    return _encoded(picture, "JPEG", quality=quality, exif=exif)


def sticker(seed: int) -> bytes:
    """Paint a disc on nothing, as PNG with transparency."""
    picture = Image.new("RGBA", (600, 600), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    dice = random.Random(seed)
    draw.ellipse((40, 40, 560, 560), fill=(*_colour(dice, 40, 255), 255))
    draw.rectangle((220, 120, 380, 480), fill=(*_colour(dice, 40, 255), 128))
    return _encoded(picture, "PNG")


def webp(picture: Image.Image) -> bytes:
    """Encode as WebP, fast."""
    return _encoded(picture, "WEBP", quality=80, method=0)


def gif(picture: Image.Image) -> bytes:
    """Encode as GIF with a palette of 64 colours."""
    return _encoded(picture.resize((640, 480)).quantize(64), "GIF")


def grey_jpeg(picture: Image.Image) -> bytes:
    """Encode as JPEG without colour."""
    return _encoded(picture.convert("L"), "JPEG", quality=88)


def painter(number: int) -> Callable[[], bytes]:
    """Give what makes good picture `number`: mostly JPEG, now and then another format."""
    kinds: dict[int, Callable[[], bytes]] = {
        4: lambda: sticker(number),
        7: lambda: webp(landscape(number)),
        9: lambda: gif(landscape(number)),
        11: lambda: jpeg(landscape(number), orientation=6),
        13: lambda: grey_jpeg(landscape(number)),
    }
    return kinds.get(number % 15, lambda: jpeg(landscape(number)))


def _gradient(width: int, height: int, top: Colour, bottom: Colour) -> Image.Image:
    mask = Image.linear_gradient("L").resize((width, height))
    return Image.composite(Image.new("RGB", (width, height), bottom), Image.new("RGB", (width, height), top), mask)


def _colour(dice: random.Random, darkest: int, brightest: int) -> Colour:
    return (dice.randint(darkest, brightest), dice.randint(darkest, brightest), dice.randint(darkest, brightest))


def _sun(draw: ImageDraw.ImageDraw, dice: random.Random, width: int, height: int) -> None:
    x, y, radius = dice.randint(0, width), dice.randint(0, height // 2), height // dice.randint(8, 14)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 244, dice.randint(120, 220)))


def _hills(draw: ImageDraw.ImageDraw, dice: random.Random, width: int, height: int, distance: int) -> None:
    base = height * (5 + distance * 2) // 10
    edge = [(x, base + dice.randint(-height // 10, height // 10)) for x in range(0, width + 1, width // 8)]
    shade = 150 - 50 * distance
    draw.polygon([(0, height), *edge, (width, height)], fill=_colour(dice, shade // 2, shade))


def _encoded(picture: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()
