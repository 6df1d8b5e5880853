"""Pictures that cost what photographs cost: the same on every machine, made once and kept."""

from __future__ import annotations

import argparse
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw


@dataclass(frozen=True, slots=True)
class Kind:
    """Pictures of one sort."""

    sizes: tuple[tuple[int, int], ...]
    """Width and height in pixels."""
    pictures: int
    """How many different ones there are."""
    suffixes: tuple[str, ...] = ("jpg",)
    """The formats, by turns."""

    def size_of(self, number: int) -> tuple[int, int]:
        """Return the size of the picture that stands behind URL `number`."""
        return self.sizes[number % self.pictures % len(self.sizes)]

    def suffix_of(self, number: int) -> str:
        """Return the format of the picture that stands behind URL `number`."""
        return self.suffixes[number % self.pictures % len(self.suffixes)]


_PHOTO_SIZES = ((1280, 960), (960, 1280), (1344, 896), (1104, 1104))
KINDS = {
    "photo": Kind(_PHOTO_SIZES, 64),
    "large": Kind(((4000, 3000), (3000, 4000)), 8),
    "mixed": Kind(_PHOTO_SIZES, 16, ("png", "webp")),
    "tiny": Kind(((64, 48),), 1),
}
"""1.2 megapixels in about 212 KB; 12 megapixels; PNG with alpha and WebP in turn; next to nothing."""

# Grid width and weight of each layer of smooth noise: large shapes are strong, fine detail is weak, as in photographs.
_OCTAVES = ((4, 1.0), (12, 0.5), (40, 0.3), (140, 0.2), (420, 0.16))
_GRAIN = 11
"""Amplitude of the pixel noise in grey levels, chosen so that a picture takes about 212 KB."""
_QUALITY = 85
_VERSION = 2


def ensure(folder: Path, name: str) -> list[Path]:
    """Return the files of one kind, made in `folder` where they aren't there."""
    found = paths(folder, name)
    found[0].parent.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(found):
        if not path.exists():
            unfinished = path.with_suffix(".part")
            unfinished.write_bytes(encoded(name, number))
            unfinished.rename(path)
    return found


def paths(folder: Path, name: str) -> list[Path]:
    """Return where the files of one kind lie."""
    kind = KINDS[name]
    return [
        folder / f"corpus-{_VERSION}" / name / f"{number:03d}.{kind.suffix_of(number)}"
        for number in range(kind.pictures)
    ]


def encoded(name: str, number: int) -> bytes:
    """Return the file of picture `number` of a kind."""
    size = KINDS[name].size_of(number)
    if name == "tiny":
        return _file(_channel(random.Random(number), size), "JPEG", quality=_QUALITY)
    picture = _photograph(random.Random(number), size)
    match KINDS[name].suffix_of(number):
        case "png":
            picture.putalpha(_channel(random.Random(-1 - number), size))
            return _file(picture, "PNG", compress_level=4)
        case "webp":
            return _file(picture, "WEBP", quality=_QUALITY, method=2)
        case _:
            return _file(picture, "JPEG", quality=_QUALITY)


def _photograph(chance: random.Random, size: tuple[int, int]) -> Image.Image:
    picture = Image.merge("RGB", [_channel(chance, size) for _ in range(3)])
    _draw_shapes(ImageDraw.Draw(picture), chance, size)
    grain = Image.frombytes("L", size, chance.randbytes(size[0] * size[1])).point(lambda level: level * _GRAIN // 255)
    return ImageChops.add(picture, Image.merge("RGB", (grain, grain, grain)), offset=-_GRAIN // 2)


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


def _file(picture: Image.Image, format_: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


def _report(made: list[Path]) -> Iterator[str]:
    sizes = [path.stat().st_size for path in made]
    yield f"{len(made)} pictures in {made[0].parent}, {min(sizes):,} to {max(sizes):,} bytes"
    yield f"mean {sum(sizes) // len(sizes):,}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    for name in KINDS:
        print(*_report(ensure(parser.parse_args().folder, name)), sep="\n")
