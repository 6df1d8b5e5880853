"""What is often built for the job: a Celery task that fetches with requests and renders with Pillow, on Redis.

BENCH_REDIS=redis://… celery -A benchmarks.celery_peer worker      the worker, which stands all the time
BENCH_REDIS=redis://… python -m benchmarks.celery_peer R|T|L|M URLS OUTPUT
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import requests  # type: ignore[import-untyped, unused-ignore]  # as below
from celery import Celery  # type: ignore[import-not-found]  # in an environment of its own

from benchmarks.jobs import JOBS
from benchmarks.thumbnails import DEFAULTS, render

_TOGETHER = 10
"""Pictures a message: Celery's own advice for many short tasks (`chunks`)."""

app = Celery("pictures", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])
app.conf.update(task_compression=None, worker_prefetch_multiplier=4, broker_connection_retry_on_startup=True)


@functools.cache
def session() -> requests.Session:
    """One a process: its connections stay open."""
    return requests.Session()


@app.task  # type: ignore[untyped-decorator]  # as above
def picture(job_name: str, number: int, url: str, output: str) -> None:
    answer = session().get(url, timeout=30)
    answer.raise_for_status()
    render(answer.content, JOBS[job_name].boxes, Path(output) / f"{number:06d}", DEFAULTS)


if __name__ == "__main__":
    Path(sys.argv[3]).mkdir(parents=True)
    lines = Path(sys.argv[2]).read_text().split()
    wanted = ((sys.argv[1], number, url, sys.argv[3]) for number, url in enumerate(lines))
    # The module's own name is the worker's; as a program it is __main__.
    from benchmarks.celery_peer import picture as task

    task.chunks(wanted, _TOGETHER).group().apply_async().get()
