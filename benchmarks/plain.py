"""A script such as is written for one list and one evening: the least that does the job.

python -m benchmarks.plain R|T|L|M URLS OUTPUT
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import aiohttp

from benchmarks.jobs import JOBS
from benchmarks.thumbnails import render

_DOWNLOADS = 32


async def run(job_name: str, urls: list[str], output: Path) -> None:
    boxes, turns, loop = JOBS[job_name].boxes, asyncio.Semaphore(_DOWNLOADS), asyncio.get_running_loop()
    with ProcessPoolExecutor() as pool:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:

            async def one(number: int, url: str) -> None:
                async with turns:
                    async with session.get(url) as response:
                        response.raise_for_status()
                        original = await response.read()
                    await loop.run_in_executor(pool, render, original, boxes, output / f"{number:06d}")

            for number, url in enumerate(urls):
                tasks.create_task(one(number, url))


if __name__ == "__main__":
    Path(sys.argv[3]).mkdir(parents=True)
    asyncio.run(run(sys.argv[1], Path(sys.argv[2]).read_text().split(), Path(sys.argv[3])))
