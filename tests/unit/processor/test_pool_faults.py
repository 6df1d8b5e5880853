from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from imagemill.domain.failures import FailureCode, PermanentError, TransientError
from processor_svc.jobs import RenderJob, RenderResult
from processor_svc.pool import PoolBroken, PoolSettings, RenderPool
from tests.support.eventually import eventually, eventually_blocking
from tests.unit.processor.pictures import encoded, job_for, photo
from tests.unit.processor.test_pool import is_gone, is_there, small_job

PARENT = """
import asyncio, sys
from processor_svc.pool import PoolSettings, RenderPool

async def main():
    async with RenderPool(PoolSettings(children=1)) as pool:
        print(*pool.pids, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def half_done(job: RenderJob) -> RenderJob:
    Path(job.outputs["a"]).write_bytes(b"half a picture")
    return job


async def test_a_killed_child_fails_the_job_it_was_at_and_no_other(tmp_path: Path) -> None:
    async with RenderPool(PoolSettings(children=1)) as pool:
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        tasks = [asyncio.create_task(pool.render(small_job(tmp_path, number))) for number in range(4)]
        await asyncio.sleep(0)  # each has handed its job over
        os.kill(pid, signal.SIGKILL)
        head, *others = await asyncio.gather(*tasks, return_exceptions=True)

        assert is_gone(pid)
        assert isinstance(head, TransientError)
        assert head.failure.code is FailureCode.RENDER_CRASHED
        assert [type(each) for each in others] == [RenderResult] * 3
        assert pid not in pool.pids


async def test_random_kills_cost_at_most_one_job_each_while_children_are_being_replaced(tmp_path: Path) -> None:
    chance = random.Random(7)
    kills = 0
    async with RenderPool(PoolSettings(children=2, jobs_per_child=15)) as pool:
        pending = {asyncio.create_task(pool.render(small_job(tmp_path, number))) for number in range(300)}
        ended: list[RenderResult | BaseException] = []
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            ended += [task.exception() or task.result() for task in done]
            if chance.random() < 0.1 and pool.pids:
                os.kill(chance.choice(pool.pids), signal.SIGKILL)
                kills += 1

    crashed = [each for each in ended if isinstance(each, TransientError)]
    assert len(ended) == 300
    assert len(crashed) + sum(isinstance(each, RenderResult) for each in ended) == 300
    assert {each.failure.code for each in crashed} == {FailureCode.RENDER_CRASHED}
    assert 0 < len(crashed) <= kills


async def test_an_idle_child_that_is_killed_is_replaced(tmp_path: Path) -> None:
    async with RenderPool(PoolSettings(children=2)) as pool:
        await eventually(lambda: len(pool.pids) == 2)
        victim = pool.pids[0]
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: victim not in pool.pids and len(pool.pids) == 2)

        results = await asyncio.gather(*(pool.render(small_job(tmp_path, number)) for number in range(8)))

    assert len(results) == 8


async def test_a_child_that_hangs_is_killed_at_the_deadline_and_the_job_behind_goes_on(tmp_path: Path) -> None:
    async with RenderPool(PoolSettings(children=1, deadline_s=0.3)) as pool:
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        stuck = half_done(small_job(tmp_path, 0))
        head, behind = await asyncio.gather(
            pool.render(stuck), pool.render(small_job(tmp_path, 1)), return_exceptions=True
        )
        await eventually(lambda: is_gone(pid))

    assert isinstance(head, PermanentError)
    assert head.failure.code is FailureCode.RENDER_TIMEOUT
    assert isinstance(behind, RenderResult)
    assert not is_there(stuck)


async def test_the_deadline_runs_only_while_a_job_is_at_the_head(tmp_path: Path) -> None:
    slow = job_for(tmp_path, encoded(photo(1500, 1500), "PNG"), "png", {"width": 1500, "format": "avif", "speed": 0})
    loop = asyncio.get_running_loop()
    async with RenderPool(PoolSettings(children=1, deadline_s=30.0)) as pool:
        quick = asyncio.create_task(pool.render(small_job(tmp_path)))
        behind = asyncio.create_task(pool.render(slow))
        await asyncio.sleep(0)  # both are handed over
        handed_over = loop.time()
        await quick

        timer = pool._children[0].timer
        assert timer is not None
        assert timer.when() > handed_over + 30.0
    with pytest.raises(TransientError):
        await behind


async def test_ctrl_c_and_termination_of_the_group_are_left_to_the_parent(tmp_path: Path) -> None:
    async with RenderPool(PoolSettings(children=1)) as pool:
        (pid,) = pool.pids
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)

        await pool.render(small_job(tmp_path))

        assert pool.pids == [pid]


async def test_children_that_end_at_their_start_are_a_clear_error_after_a_few_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "PIL"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('no pictures here')")
    monkeypatch.syspath_prepend(str(tmp_path))
    others = set(psutil.Process().children())

    with pytest.raises(PoolBroken, match="no pictures here"):
        async with RenderPool(PoolSettings(children=2)):
            raise AssertionError("it was entered")

    assert set(psutil.Process().children()) <= others


async def test_jobs_that_wait_hear_of_it_when_no_child_can_be_started_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RenderPool(PoolSettings(children=1)) as pool:
        (pid,) = pool.pids
        monkeypatch.setattr(sys, "executable", "/bin/false")
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: pid not in pool.pids)

        with pytest.raises(PoolBroken):
            await pool.render(small_job(tmp_path))


@pytest.mark.parametrize("stopped", [False, True])
def test_no_child_outlives_a_killed_parent_by_a_second(stopped: bool) -> None:
    root = str(Path(__file__).parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        if stopped:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)

        parent.kill()

        eventually_blocking(lambda: all(is_gone(pid) for pid in pids), timeout_s=1.0)
    assert len(pids) == 1


def test_a_child_whose_parent_is_already_gone_ends_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "processor_svc.child", "0", "1", str(2**30)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        timeout=10,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
