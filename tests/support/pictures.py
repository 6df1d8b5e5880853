"""Pictures made for tests: small, different from one another, and the same on every machine."""

from __future__ import annotations

import io
import random

from PIL import Image

_SOI = 2
"""Bytes of a JPEG's start marker, after which a comment may stand."""


def jpeg(width: int = 320, height: int = 240, seed: int = 1) -> bytes:
    """Return a JPEG of soft shapes; another seed gives another picture."""
    return _encoded(_shapes(width, height, seed), "JPEG")


def png(width: int = 320, height: int = 240, seed: int = 1) -> bytes:
    """Return a PNG whose left half is transparent."""
    image = _shapes(width, height, seed).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, width // 2, height))
    return _encoded(image, "PNG")


def numbered(picture: bytes, number: int) -> bytes:
    """Return the same JPEG with a comment of its own, so that its bytes are nobody else's."""
    return picture[:_SOI] + b"\xff\xfe\x00\x0a%08d" % number + picture[_SOI:]


def _shapes(width: int, height: int, seed: int) -> Image.Image:
    chance = random.Random(seed)
    grid = (max(2, width // 40), max(2, height // 40))
    bands = [Image.frombytes("L", grid, chance.randbytes(grid[0] * grid[1])) for _ in range(3)]
    return Image.merge("RGB", bands).resize((width, height), Image.Resampling.BICUBIC)


def _encoded(image: Image.Image, format_: str) -> bytes:
    file = io.BytesIO()
    image.save(file, format_)
    return file.getvalue()
