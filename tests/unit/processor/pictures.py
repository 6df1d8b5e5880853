"""Pictures made for tests, and a shorthand for rendering them."""

from __future__ import annotations

import io
import math
import random
import struct
import tomllib
import zlib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from PIL import Image, ImageChops, ImageStat

from imagemill.domain.recipe import Recipe
from processor_svc.jobs import RenderJob, RenderResult
from processor_svc.render import render

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def is_required(package: str) -> bool:
    """Say whether the project asks for a package on this platform."""
    requirements = map(Requirement, tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"])
    (found,) = (each for each in requirements if each.name == package)
    return found.marker is None or found.marker.evaluate()


# By what is asked for, not by what was found: an engine that is not used where it should be is a failure.
NEEDS_SIMD = pytest.mark.skipif(not is_required("cykooz-resizer"), reason="there is no SIMD engine for this platform")

RED, GREEN, BLUE, YELLOW, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255)

Colour = tuple[int, ...]


def quadrants(width: int = 64, height: int = 48) -> Image.Image:
    """Red and green above, blue and yellow below: any turn or flip shows."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image


def photo(width: int, height: int, seed: int = 1) -> Image.Image:
    """Soft shapes with fine grain, as a camera gives them."""
    chance = random.Random(seed)

    def layer(step: int) -> Image.Image:
        size = max(2, width // step), max(2, height // step)
        bands = [Image.frombytes("L", size, chance.randbytes(size[0] * size[1])) for _ in range(3)]
        return Image.merge("RGB", bands).resize((width, height), Image.Resampling.BICUBIC)

    return Image.blend(layer(40), layer(3), 0.3)


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    """Encode with Pillow, losslessly unless the options say otherwise."""
    buffer = io.BytesIO()
    if format_ == "JPEG":
        options = {"quality": 95, "subsampling": 0} | options
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def job_for(folder: Path, data: bytes, format_: str, *variants: dict[str, object], **more: Any) -> RenderJob:
    """Write an original into `folder` and make the job for it; a variant lacking a name is called `a`, `b`, ..."""
    choices: dict[str, object] = {name: more.pop(name) for name in ("metadata", "color_profile") if name in more}
    named = [{"name": chr(ord("a") + index), **variant} for index, variant in enumerate(variants)]
    recipe = Recipe.parse({"variants": named, **choices})
    path = folder / "original"
    path.write_bytes(data)
    outputs = {variant.name: str(folder / f"out-{variant.name}") for variant in recipe.variants}
    return RenderJob(str(path), len(data), format_, recipe, outputs, **more)


def rendered(
    folder: Path, data: bytes, format_: str, *variants: dict[str, object], **more: Any
) -> tuple[RenderResult, list[Image.Image]]:
    """Render and open what was made, in the order of the variants."""
    job = job_for(folder, data, format_, *variants, **more)
    result = render(job)
    images: list[Image.Image] = []
    for made in result.renders:
        with Image.open(job.outputs[made.name]) as image:
            image.load()
            images.append(image)
        assert (made.width, made.height) == image.size
        assert made.size_bytes == Path(job.outputs[made.name]).stat().st_size
    return result, images


def png_bomb(width: int, height: int) -> bytes:
    """A PNG that promises more pixels than it holds: there are none."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def corners(image: Image.Image) -> list[Colour]:
    """The colours in the middle of the four quarters: top left, top right, bottom left, bottom right."""
    plain = image.convert("RGB")
    width, height = plain.size
    spots = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    return [pixel(plain, *spot) for spot in spots]


def pixel(image: Image.Image, x: int, y: int) -> Colour:
    """One pixel's bands."""
    value = image.getpixel((x, y))
    assert value is not None
    return value if isinstance(value, tuple) else (int(value),)


def near(found: Colour, wanted: Colour, tolerance: int = 6) -> bool:
    """Whether every band is within `tolerance`."""
    return len(found) == len(wanted) and all(
        abs(one - other) <= tolerance for one, other in zip(found, wanted, strict=True)
    )


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in decibels; 99 for equal pictures."""
    statistics = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB")))
    mean_square = sum(statistics.sum2) / sum(statistics.count)
    return 99.0 if mean_square == 0 else 10 * math.log10(255**2 / mean_square)
