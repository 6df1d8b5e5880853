from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import psutil
import pytest
from PIL import Image

from imagemill.domain.failures import FailureCode, PermanentError, TransientError
from processor_svc.jobs import RenderJob, RenderResult
from processor_svc.pool import _LONGEST_PAUSE_S, PoolSettings, RenderPool
from processor_svc.render import render
from tests.support.eventually import eventually
from tests.unit.processor.pictures import NEEDS_SIMD, encoded, job_for, photo, png_bomb, quadrants

SMALL: dict[str, object] = {"width": 32, "height": 32}


def small_job(folder: Path, number: int = 0) -> RenderJob:
    own = folder / str(number)
    own.mkdir(exist_ok=True)
    return job_for(own, encoded(quadrants(), "PNG"), "png", SMALL)


def size_of(job: RenderJob) -> int:
    return os.path.getsize(job.outputs["a"])


def is_there(job: RenderJob) -> bool:
    return os.path.exists(job.outputs["a"])


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_a_picture_is_rendered_in_another_process_as_it_would_be_in_this_one(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    here = render(job)

    async with RenderPool(PoolSettings(children=1)) as pool:
        there = await pool.render(job)

    assert (there.source, there.renders, there.warnings) == (here.source, here.renders, here.warnings)
    assert size_of(job) == there.renders[0].size_bytes


async def test_a_child_is_missed_for_as_long_as_none_can_be_started() -> None:
    """An hour and a half of failed starts made a pause that no number could hold."""
    async with RenderPool(PoolSettings(children=1)) as pool:
        pool._failed_starts = 5_000
        pool._retry_start("no more processes")

        assert pool._refill is not None
        assert pool._refill.when() - asyncio.get_running_loop().time() <= _LONGEST_PAUSE_S


async def test_many_jobs_are_shared_by_all_children_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    jobs = []
    for side in range(20, 60):
        folder = tmp_path / str(side)
        folder.mkdir()
        jobs.append(job_for(folder, encoded(photo(side, side), "PNG"), "png", SMALL))

    async with RenderPool(PoolSettings(children=2)) as pool:
        results = await asyncio.gather(*(pool.render(job) for job in jobs))
        children = [psutil.Process(pid) for pid in pool.pids]

    assert [result.source.width for result in results] == list(range(20, 60))
    assert len(children) == 2


async def test_a_picture_that_cannot_be_rendered_fails_alone_and_leaves_no_file(tmp_path: Path) -> None:
    good = small_job(tmp_path, 1)
    broken = job_for(tmp_path, b"\xff\xd8 nothing \xff\xd9", "jpeg", SMALL)
    (tmp_path / "out-a").write_bytes(b"half a picture")

    async with RenderPool(PoolSettings(children=1)) as pool:
        failed, done = await asyncio.gather(pool.render(broken), pool.render(good), return_exceptions=True)

    assert isinstance(failed, PermanentError)
    assert failed.failure.code is FailureCode.DECODE_FAILED
    assert isinstance(done, RenderResult)
    assert not is_there(broken)


async def test_a_bomb_beyond_the_childs_memory_is_a_clean_failure_and_the_child_lives_on(tmp_path: Path) -> None:
    bomb = png_bomb(8000, 8000)  # 70 bytes that promise 256 MB of pixels
    settings = PoolSettings(children=1, memory_bytes=200 * 2**20)

    async with RenderPool(settings) as pool:
        before = pool.pids
        with pytest.raises(PermanentError) as raised:
            await pool.render(job_for(tmp_path, bomb, "png", SMALL))
        await pool.render(small_job(tmp_path))
        after = pool.pids

    assert raised.value.failure.code is FailureCode.MEMORY_EXCEEDED
    assert before == after


@pytest.mark.parametrize(
    ("size", "larger"),
    [
        ((100, 100), {"width": 8000, "height": 8000}),
        pytest.param((5900, 1000), {"width": 1000, "height": 7000}, marks=NEEDS_SIMD),  # columns are resampled first
    ],
)
async def test_resizing_beyond_the_childs_memory_is_a_clean_failure_and_the_child_lives_on(
    size: tuple[int, int], larger: dict[str, object], tmp_path: Path
) -> None:
    data = encoded(Image.new("RGB", size), "PNG")
    stretched = job_for(tmp_path, data, "png", {**larger, "mode": "stretch", "upscale": True, "format": "png"})

    async with RenderPool(PoolSettings(children=1, memory_bytes=200 * 2**20)) as pool:
        before = pool.pids
        with pytest.raises(PermanentError) as raised:
            await pool.render(stretched)
        await pool.render(small_job(tmp_path))
        after = pool.pids

    assert raised.value.failure.code is FailureCode.MEMORY_EXCEEDED
    assert before == after


async def test_a_picture_of_one_long_line_is_rendered_in_little_memory(tmp_path: Path) -> None:
    line = encoded(Image.new("L", (40_000_000, 1), 77), "PNG")

    async with RenderPool(PoolSettings(children=1, memory_bytes=400 * 2**20)) as pool:
        result = await pool.render(job_for(tmp_path, line, "png", SMALL))

    assert (result.renders[0].width, result.renders[0].height) == (32, 1)


async def test_a_child_is_replaced_after_its_share_of_jobs_and_no_job_notices(tmp_path: Path) -> None:
    async with RenderPool(PoolSettings(children=1, jobs_per_child=5)) as pool:
        (first,) = pool.pids
        results = [await pool.render(small_job(tmp_path)) for _ in range(30)]
        await eventually(lambda: first not in pool.pids and is_gone(first))
        results.append(await pool.render(small_job(tmp_path)))
        await eventually(lambda: len(pool.pids) == 1)

    assert len(results) == 31


async def test_a_cancelled_job_is_forgotten_and_its_files_are_removed(tmp_path: Path) -> None:
    jobs = [small_job(tmp_path, number) for number in range(6)]

    async with RenderPool(PoolSettings(children=1)) as pool:
        tasks = [asyncio.create_task(pool.render(job)) for job in jobs]
        await asyncio.wait([tasks[0]])
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks)
        await pool.render(small_job(tmp_path, 7))  # everything before it is settled when it is done

        assert tasks[0].exception() is None
        for task, job in zip(tasks, jobs, strict=True):
            assert is_there(job) == (not task.cancelled())


async def test_closing_ends_every_child_and_every_job(tmp_path: Path) -> None:
    pool = RenderPool(PoolSettings(children=2))
    loop = asyncio.get_running_loop()
    async with pool:
        pids = pool.pids
        tasks = [asyncio.create_task(pool.render(small_job(tmp_path, number))) for number in range(40)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        began = loop.time()
    took = loop.time() - began

    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert took < 1.0
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert all(isinstance(each, RenderResult | TransientError) for each in ended)
    with pytest.raises(RuntimeError, match="closed"):
        await pool.render(small_job(tmp_path))


def test_a_pool_outside_the_main_thread_is_refused() -> None:
    caught: list[BaseException] = []

    async def enter() -> None:
        async with RenderPool(PoolSettings(children=1)):
            raise AssertionError("it was let in")

    def run() -> None:
        try:
            asyncio.run(enter())
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert "main thread" in str(caught[0])
