"""The parent of a pool of rendering processes, as a program: each line it reads is jobs, each line it writes answers.

It stands alone so that its death, its memory and its standard error are seen for what they are. Started with the
seconds that a picture may take.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from dataclasses import asdict
from typing import Any

from imagemill.domain.failures import PipelineError
from processor_svc.jobs import RenderJob, RenderResult
from processor_svc.pool import PoolSettings, RenderPool
from tests.support.eventually import eventually

WIDTH = 2


class _Notes(logging.Handler):
    """Keeps what the pool logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def main(deadline_s: float) -> None:
    notes = _Notes()
    logging.basicConfig(level=logging.INFO, handlers=[notes])
    async with RenderPool(PoolSettings(children=WIDTH, deadline_s=deadline_s)) as pool:
        await eventually(lambda: _is_complete(pool))
        while line := await asyncio.to_thread(sys.stdin.readline):
            notes.lines.clear()
            answer = await _answer(pool, json.loads(line))
            sys.stdout.write(json.dumps({**answer, "notes": notes.lines}) + "\n")
            sys.stdout.flush()


async def _answer(pool: RenderPool, asked: list[dict[str, Any]]) -> dict[str, Any]:
    jobs = [RenderJob.from_mapping(each) for each in asked]
    outcomes = await asyncio.gather(*(pool.render(job) for job in jobs), return_exceptions=True)
    ended = time.monotonic()
    await eventually(lambda: _is_complete(pool), timeout_s=30.0)
    return {"outcomes": [_told(each) for each in outcomes], "complete_after_s": time.monotonic() - ended}


def _is_complete(pool: RenderPool) -> bool:
    return sum(child.ready and not child.retired for child in pool._children) == WIDTH


def _told(outcome: RenderResult | BaseException) -> dict[str, Any]:
    if isinstance(outcome, RenderResult):
        return {"sizes": {each.name: [each.width, each.height] for each in outcome.renders}, **asdict(outcome.source)}
    if isinstance(outcome, PipelineError):
        return {"code": outcome.failure.code.value, "message": outcome.failure.message}
    return {"unforeseen": repr(outcome)}


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
