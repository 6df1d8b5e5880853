"""What is measured: the work, and how its pictures are checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks import corpus


@dataclass(frozen=True, slots=True)
class Job:
    """Pictures to be made of each photograph of the corpus."""

    name: str
    describes: str
    boxes: tuple[tuple[int, str], ...]
    """Side in pixels of the square a picture is fitted into, and its format, of each output of one photograph."""
    recipe: str
    """The mill's preset for it."""


R = Job("R", "one JPEG q85 fitted to 256x256", ((256, "JPEG"),), "dataset-256")
T = Job(
    "T",
    "150, 600 and 1200 as JPEG q85 and WebP q80",
    tuple((side, format_) for side in (150, 600, 1200) for format_ in ("JPEG", "WEBP")),
    "standard",
)
JOBS = {job.name: job for job in (R, T)}


class WrongOutput(Exception):
    """A runner did not do the job; its figures would mean nothing."""


def write_list(address: str, folder: str, count: int, path: Path) -> None:
    """Write the list of `count` URLs that a runner gets."""
    with path.open("w", encoding="ascii") as file:
        file.writelines(f"{address}/{folder}/{number:06d}.jpg\n" for number in range(count))


def check(job: Job, photographs: int, pictures: Iterable[Path]) -> int:
    """Open every picture; return their number.

    Raises:
        WrongOutput: there are too few or too many, or their sizes and formats are not those of the job.
    """
    expected = _expected(job, photographs)
    found: dict[tuple[str, int, int], int] = {}
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
            kind = (str(picture.format), *picture.size)
        found[_nearest(kind, expected)] = found.get(_nearest(kind, expected), 0) + 1
    if found != expected:
        raise WrongOutput(f"expected {expected}, found {found}")
    return sum(found.values())


def _expected(job: Job, photographs: int) -> dict[tuple[str, int, int], int]:
    expected: dict[tuple[str, int, int], int] = {}
    for number in range(photographs):
        width, height = corpus.size_of(number % corpus.PICTURES)
        for side, format_ in job.boxes:
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
