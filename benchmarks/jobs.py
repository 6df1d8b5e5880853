"""What is measured: the work, and how its pictures are checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.corpus import KINDS


@dataclass(frozen=True, slots=True)
class Job:
    """Pictures to be made of each picture of a kind."""

    name: str
    describes: str
    kind: str
    """What is downloaded: a kind of the corpus."""
    boxes: tuple[tuple[int, str], ...]
    """Side in pixels of the square a picture is fitted into, and its format, of each output of one original."""
    recipe: str
    """The mill's preset for it."""
    images: int
    """How many are enough for a rate that says something."""


_SMALL = ((256, "JPEG"),)
_SIX = tuple((side, format_) for side in (150, 600, 1200) for format_ in ("JPEG", "WEBP"))
R = Job("R", "1.2-megapixel JPEG to one JPEG q85 fitted to 256x256", "photo", _SMALL, "dataset-256", 2000)
T = Job("T", "1.2-megapixel JPEG to 150, 600 and 1200 as JPEG q85 and WebP q80", "photo", _SIX, "standard", 400)
L = Job("L", "12-megapixel JPEG to one JPEG q85 fitted to 256x256", "large", _SMALL, "dataset-256", 400)
M = Job(
    "M", "1.2-megapixel PNG with alpha and WebP to one JPEG q85 fitted to 256x256", "mixed", _SMALL, "dataset-256", 400
)
JOBS = {job.name: job for job in (R, T, L, M)}


class WrongOutput(Exception):
    """A runner did not do the job; its figures would mean nothing."""


def write_list(address: str, kind: str, count: int, path: Path) -> None:
    """Write the list of `count` URLs that a runner gets."""
    with path.open("w", encoding="ascii") as file:
        file.writelines(f"{address}/{kind}/{number:06d}.{KINDS[kind].suffix_of(number)}\n" for number in range(count))


@dataclass(frozen=True, slots=True)
class Output:
    """What a runner made."""

    pictures: int
    size_bytes: int


def check(job: Job, photographs: int, pictures: Iterable[Path], formats: frozenset[str]) -> Output:
    """Open every picture; return what there is. Formats that a runner can't write are not expected of it.

    Raises:
        WrongOutput: there are too few or too many, or their sizes and formats are not those of the job.
    """
    expected = _expected(job, photographs, formats)
    found: dict[tuple[str, int, int], int] = {}
    size_bytes = 0
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
            kind = (str(picture.format), *picture.size)
        size_bytes += path.stat().st_size
        found[_nearest(kind, expected)] = found.get(_nearest(kind, expected), 0) + 1
    if found != expected:
        raise WrongOutput(f"expected {expected}, found {found}")
    return Output(sum(found.values()), size_bytes)


def _expected(job: Job, photographs: int, formats: frozenset[str]) -> dict[tuple[str, int, int], int]:
    expected: dict[tuple[str, int, int], int] = {}
    for number in range(photographs):
        width, height = KINDS[job.kind].size_of(number)
        for side, format_ in (box for box in job.boxes if box[1] in formats):
            scale = min(1.0, side / max(width, height))
            kind = (format_, round(width * scale), round(height * scale))
            expected[kind] = expected.get(kind, 0) + 1
    return expected


def _nearest(kind: tuple[str, int, int], expected: Iterable[tuple[str, int, int]]) -> tuple[str, int, int]:
    """Return the expected kind that differs by at most a pixel: libraries round differently."""
    for format_, width, height in expected:
        if format_ == kind[0] and abs(width - kind[1]) <= 1 and abs(height - kind[2]) <= 1:
            return format_, width, height
    return kind
