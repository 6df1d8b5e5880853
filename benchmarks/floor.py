"""The floor: what the parts cost by themselves. One process a core fetches, renders and writes, one picture after
another, with the mill's encoders, resampling and memory settings and nothing around them: no rows, no checks, no
retries.

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
from processor_svc.spawning import MALLOC

worker: Worker


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


class Worker:
    """One process, with a connection that it keeps."""

    def __init__(self, job_name: str, urls: list[str], output: Path) -> None:
        self._boxes = JOBS[job_name].boxes
        self._urls = urls
        self._output = output
        address = urlsplit(urls[0])
        assert address.hostname
        self._connection = http.client.HTTPConnection(address.hostname, address.port)

    def do(self, number: int) -> None:
        """Fetch one picture of the list and render it."""
        self._connection.request("GET", urlsplit(self._urls[number]).path)
        answer = self._connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"{self._urls[number]}: {answer.status}")
        render(answer.read(), self._boxes, self._output / f"{number:06d}")


def start(job_name: str, urls: list[str], output: Path) -> None:
    global worker
    worker = Worker(job_name, urls, output)


def do(number: int) -> None:
    worker.do(number)


if __name__ == "__main__":
    output = Path(sys.argv[3])
    output.mkdir(parents=True)
    lines, cores = Path(sys.argv[2]).read_text().split(), os.cpu_count() or 1
    # What keeps the memory of a finished picture for the next one is the C library's, not the pipeline's.
    os.environ.update(MALLOC)
    with multiprocessing.get_context("spawn").Pool(cores, start, (sys.argv[1], lines, output)) as pool:
        for _ in pool.imap_unordered(do, range(len(lines)), 2):
            pass
