"""The same bytes and the same recipe give the same renders, whatever else a process has rendered before."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from processor_svc.jobs import RenderJob
from processor_svc.pool import PoolSettings, RenderPool
from tests.unit.processor.handmade import gif
from tests.unit.processor.pictures import encoded, job_for, photo, quadrants
from tests.unit.processor.test_colour_profiles import P3

VARIANTS: list[dict[str, object]] = [
    {"width": width, "format": format_} for format_ in ("jpeg", "webp", "png", "avif") for width in (40, 300)
]
ORIGINALS = {
    "jpeg": encoded(photo(640, 480), "JPEG", icc_profile=P3),
    "png": encoded(quadrants().convert("RGBA"), "PNG"),
    "gif": gif((60, 40), [((4, 4, 20, 20), 1)], transparent=2),
    "tiff": encoded(photo(320, 240), "TIFF", compression="tiff_lzw"),
}


def jobs(folder: Path) -> list[RenderJob]:
    made = []
    for format_, data in ORIGINALS.items():
        own = folder / format_
        own.mkdir(parents=True)
        made.append(job_for(own, data, format_, *VARIANTS, metadata="keep"))
    return made


async def digests(folder: Path, *, backwards: bool) -> dict[tuple[str, str], str]:
    ordered = jobs(folder)[:: -1 if backwards else 1]
    async with RenderPool(PoolSettings(children=1)) as pool:
        for job in ordered:
            await pool.render(job)
    return {(job.format, name): digest_of(path) for job in ordered for name, path in job.outputs.items()}


def digest_of(path: str) -> str:
    return sha256(Path(path).read_bytes()).hexdigest()


async def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    one = await digests(tmp_path / "one", backwards=False)
    other = await digests(tmp_path / "other", backwards=True)

    assert one == other
    assert len(one) == len(ORIGINALS) * len(VARIANTS)
