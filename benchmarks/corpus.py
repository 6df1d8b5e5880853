"""Pictures that cost what photographs cost: the same on every machine, made once and kept."""

from __future__ import annotations

import argparse
import io
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

SIZES = ((1280, 960), (960, 1280), (1344, 896), (1104, 1104))
"""Width and height in pixels: all about 1.2 megapixels."""
PICTURES = 64
TINY = (64, 48)

# Grid width and weight of each layer of smooth noise: large shapes are strong, fine detail is weak, as in photographs.
_OCTAVES = ((4, 1.0), (12, 0.5), (40, 0.3), (140, 0.2), (420, 0.16))
_GRAIN = 11
"""Amplitude of the pixel noise in grey levels, chosen so that a picture takes about 214 KB."""
_QUALITY = 85
_VERSION = 1


def load(folder: Path) -> list[bytes]:
    """Return the corpus as JPEG files in memory, made in `folder` if it isn't there."""
    return [path.read_bytes() for path in ensure(folder)]


def ensure(folder: Path) -> list[Path]:
    kept = folder / f"corpus-{_VERSION}"
    kept.mkdir(parents=True, exist_ok=True)
    paths = [kept / f"{number:03d}.jpg" for number in range(PICTURES)]
    for number, path in enumerate(paths):
        if not path.exists():
            unfinished = path.with_suffix(".part")
            unfinished.write_bytes(photo(number))
            unfinished.rename(path)
    return paths


def photo(number: int) -> bytes:
    """Return the JPEG of picture `number`."""
    chance = random.Random(number)
    size = size_of(number)
    picture = Image.merge("RGB", [_channel(chance, size) for _ in range(3)])
    _draw_shapes(ImageDraw.Draw(picture), chance, size)
    grain = Image.frombytes("L", size, chance.randbytes(size[0] * size[1])).point(lambda level: level * _GRAIN // 255)
    picture = ImageChops.add(picture, Image.merge("RGB", (grain, grain, grain)), offset=-_GRAIN // 2)
    return _jpeg(picture)


def tiny() -> bytes:
    """Return a JPEG that costs next to nothing, for runs that are about numbers of items."""
    return _jpeg(_channel(random.Random(0), TINY))


def size_of(number: int) -> tuple[int, int]:
    return SIZES[number % len(SIZES)]


def _channel(chance: random.Random, size: tuple[int, int]) -> Image.Image:
    total = sum(weight for _, weight in _OCTAVES)
    sum_ = Image.new("L", size, 0)
    for grid, weight in _OCTAVES:
        cells = (grid, max(2, grid * size[1] // size[0]))
        noise = Image.frombytes("L", cells, chance.randbytes(cells[0] * cells[1]))
        layer = noise.resize(size, Image.Resampling.BICUBIC).point(lambda level, w=weight: int(level * w / total))
        sum_ = ImageChops.add(sum_, layer)
    return sum_


def _draw_shapes(pen: ImageDraw.ImageDraw, chance: random.Random, size: tuple[int, int]) -> None:
    """Add hard edges: outlines and filled shapes, which smooth noise has none of."""
    for _ in range(12):
        left, top = chance.randrange(size[0]), chance.randrange(size[1])
        box = (left, top, left + chance.randrange(20, 300), top + chance.randrange(20, 300))
        colour = (chance.randrange(256), chance.randrange(256), chance.randrange(256))
        shape = chance.choice([pen.ellipse, pen.rectangle])
        shape(box, fill=colour if chance.random() < 0.4 else None, outline=colour, width=chance.randrange(1, 6))


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _report(paths: list[Path]) -> Iterator[str]:
    sizes = [path.stat().st_size for path in paths]
    yield f"{len(paths)} pictures in {paths[0].parent}, {min(sizes):,} to {max(sizes):,} bytes"
    yield f"mean {sum(sizes) // len(sizes):,}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    print(*_report(ensure(parser.parse_args().folder)), sep="\n")
