"""Scrapy's image pipeline as its documentation sets it up, one crawl a core, each with its share of the list.

It writes JPEG only, of Pillow's default quality, and always a copy of the whole picture beside the thumbnails.

python -m benchmarks.scrapy_peer R|T|L|M URLS OUTPUT
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from benchmarks.jobs import JOBS

_REQUESTS = 32


def crawl(job_name: str, urls: list[str], output: str) -> None:
    from scrapy import Request, Spider  # type: ignore[import-not-found]  # in an environment of its own
    from scrapy.crawler import CrawlerProcess  # type: ignore[import-not-found]  # in an environment of its own

    class Pictures(Spider):  # type: ignore[misc]  # nothing is known of it here
        name = "pictures"

        async def start(self) -> AsyncIterator[Request]:
            # Items that no answer brought are looked after each fifth second only: a crawl of them ends up to 5 s late.
            yield Request("data:,")

        def parse(self, answer: object) -> Iterator[dict[str, list[str]]]:
            for url in urls:
                yield {"image_urls": [url]}

    sides = {side for side, _ in JOBS[job_name].boxes}
    process = CrawlerProcess(
        {
            "ITEM_PIPELINES": {"scrapy.pipelines.images.ImagesPipeline": 1},
            "IMAGES_STORE": output,
            "IMAGES_THUMBS": {str(side): (side, side) for side in sides},
            "CONCURRENT_REQUESTS": _REQUESTS,
            "CONCURRENT_REQUESTS_PER_DOMAIN": _REQUESTS,
            "DOWNLOAD_DELAY": 0,
            "ROBOTSTXT_OBEY": False,
            "COOKIES_ENABLED": False,
            "TELNETCONSOLE_ENABLED": False,
            "LOG_LEVEL": "WARNING",
        }
    )
    process.crawl(Pictures)
    process.start()


if __name__ == "__main__":
    lines, cores = Path(sys.argv[2]).read_text().split(), os.cpu_count() or 1
    spawn = multiprocessing.get_context("spawn")
    bounds = [len(lines) * n // cores for n in range(cores + 1)]
    shares = [lines[start:end] for start, end in itertools.pairwise(bounds)]
    # In one folder each would make the folders that another has just made, and lose a picture by it.
    stores = [str(Path(sys.argv[3]) / str(number)) for number in range(cores)]
    crawls = [
        spawn.Process(target=crawl, args=(sys.argv[1], share, store))
        for share, store in zip(shares, stores, strict=True)
    ]
    for each in crawls:
        each.start()
    for each in crawls:
        each.join()
    sys.exit(max(abs(each.exitcode or 0) for each in crawls))
