"""The floor: what the parts cost by themselves. One process a core fetches, renders and writes, one picture after
another, with the mill's encoders and reductions and nothing around them: no rows, no checks, no retries, no queue.

python -m benchmarks.floor R|T|L|M URLS OUTPUT
"""

from __future__ import annotations

import http.client
import io
import multiprocessing
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from benchmarks.jobs import JOBS
from benchmarks.thumbnails import OPTIONS
from processor_svc.resampling import resample


def render(original: bytes, boxes: tuple[tuple[int, str], ...], stem: Path) -> None:
    """Make all outputs from one decode, each from the one before."""
    with Image.open(io.BytesIO(original)) as opened:
        full = opened.size
        sides = sorted({side for side, _ in boxes}, reverse=True)
        opened.draft(None, _fitted(full, sides[0]))
        opened.load()
        picture: Image.Image = opened
        for side in sides:
            size = _fitted(full, side)
            if size != picture.size:
                picture = resample(picture, size, (0, 0, *picture.size))
            if picture.mode == "RGBA":
                ground = Image.new("RGB", size, "white")
                ground.paste(picture, mask=picture.getchannel("A"))
                picture = ground
            for format_ in (format_ for box, format_ in boxes if box == side):
                picture.save(f"{stem}-{side}.{format_.lower()}", format_, **OPTIONS[format_])


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    return round(size[0] * scale), round(size[1] * scale)


def run(job_name: str, urls: list[str], output: Path, share: int, shares: int) -> None:
    """Do every `shares`-th picture of the list, from `share` on."""
    boxes = JOBS[job_name].boxes
    address = urlsplit(urls[0])
    assert address.hostname
    connection = http.client.HTTPConnection(address.hostname, address.port)
    for number in range(share, len(urls), shares):
        connection.request("GET", urlsplit(urls[number]).path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"{urls[number]}: {answer.status}")
        render(answer.read(), boxes, output / f"{number:06d}")


if __name__ == "__main__":
    Path(sys.argv[3]).mkdir(parents=True)
    lines, cores = Path(sys.argv[2]).read_text().split(), os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.starmap(run, [(sys.argv[1], lines, Path(sys.argv[3]), share, cores) for share in range(cores)], 1)
