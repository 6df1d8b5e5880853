"""A pool of rendering processes that survives whatever a picture does to one of them."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from imagemill.domain.failures import FailureCode, PermanentError, PipelineError, TransientError
from imagemill.runtime import metrics
from imagemill.runtime.cores import usable_cores
from processor_svc.jobs import RenderJob, RenderResult, error_of
from processor_svc.spawning import ChildProcess

if TYPE_CHECKING:
    from imagemill.settings.groups import Rendering

_log = logging.getLogger(__name__)

OUTSTANDING = 4
"""Jobs a child holds: the one it works at and the next ones, so that it never waits for its parent, which
may be busy with something else for as long as two or three small pictures take."""
_STARTS = 4
"""Starts in a row that may fail before the pool gives up."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_STALL_S = 1.0
"""A deadline noticed later than this says that the parent itself stood still, and nothing of the child."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How many processes render, and within which bounds."""

    children: int | None = None
    """Processes; None is one per core."""
    deadline_s: float = 30.0
    """Seconds one original may take, counted from when its process turns to it."""
    memory_bytes: int = 1536 * 2**20
    """Address space of one process: a 100-megapixel picture in RGB with its copies fits."""
    jobs_per_child: int = 5000
    """Jobs after which a process is replaced, so that what a decoder leaks is given back."""

    @classmethod
    def of(cls, told: Rendering) -> PoolSettings:
        """Return the settings of a pool that is told this."""
        return cls(told.children, told.render_timeout_s, told.child_memory, told.jobs_per_child)


class PoolBroken(RuntimeError):
    """Rendering processes cannot be started; the text has what the last one complained of."""


@dataclass(eq=False, slots=True)
class _Task:
    number: int
    body: bytes
    outputs: tuple[str, ...]
    answered: asyncio.Future[RenderResult]

    def fail(self, error: Exception) -> None:
        self.discard()
        if not self.answered.done():
            self.answered.set_exception(error)

    def discard(self) -> None:
        for path in self.outputs:
            Path(path).unlink(missing_ok=True)


@dataclass(eq=False, slots=True)
class _Child:
    process: ChildProcess
    ready: bool = False
    retired: bool = False
    taken: int = 0
    tasks: deque[_Task] = field(default_factory=deque)
    """The task at hand, then what waits in the socket."""
    timer: asyncio.TimerHandle | None = None

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class RenderPool:
    """Renders in supervised processes; an async context manager, to be entered in the main thread.

    1. `render` gives a result or raises, whatever becomes of the process that worked at it.
    2. A process that dies or overstays fails exactly the job it was at; the job behind it goes to another.
    3. A job that gives no result leaves none of its output files, also when its caller went away.
    4. No process outlives the pool, nor the parent by more than a moment.
    """

    def __init__(self, settings: PoolSettings | None = None) -> None:
        self._settings = settings or PoolSettings()
        self._width = self._settings.children or usable_cores()
        self._children: list[_Child] = []
        self._waiting: deque[_Task] = deque()
        self._numbers = itertools.count(1)
        self._failed_starts = 0
        self._refill: asyncio.TimerHandle | None = None
        self._started: asyncio.Future[None] | None = None
        self._broken: PoolBroken | None = None
        self._closed = True
        self._reaping: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> list[int]:
        """The processes that live now."""
        return [child.process.pid for child in self._children]

    @property
    def slots(self) -> int:
        """How many jobs keep every process busy without a pause."""
        return self._width * OUTSTANDING

    def begin(self) -> RenderPool:
        """Start the processes and return at once; they come up while their parent does something else.

        `aclose` ends them, as does leaving the pool's context.
        """
        self._closed = False
        self._started = asyncio.get_running_loop().create_future()
        self._fill()
        return self

    async def ready(self) -> None:
        """Wait for the first process of those begun.

        Raises:
            PoolBroken: none of several could be started.
        """
        assert self._started is not None
        await asyncio.shield(self._started)

    async def __aenter__(self) -> RenderPool:
        """Begin, and be ready; raises as `ready` does."""
        self.begin()
        try:
            await self.ready()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def render(self, job: RenderJob) -> RenderResult:
        """Render one original; safe to cancel, the job is then forgotten.

        Raises:
            PipelineError: what `processor_svc.render.render` raises; RENDER_CRASHED (transient) when the
                process died, RENDER_TIMEOUT when it took too long.
            PoolBroken: no process can be started any more.
        """
        if self._broken is not None:
            raise self._broken
        if self._closed:
            raise RuntimeError("the rendering pool is closed")
        number = next(self._numbers)
        answered: asyncio.Future[RenderResult] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Task(number, job.to_json(number), tuple(job.outputs.values()), answered))
        self._dispatch()
        return await answered

    # -- work

    def _dispatch(self) -> None:
        while self._waiting:
            if self._waiting[0].answered.done():  # cancelled before anything was done
                self._waiting.popleft()
                continue
            free = [each for each in self._children if each.ready and not each.retired]
            child = min(free, key=lambda each: len(each.tasks), default=None)
            if child is None or len(child.tasks) >= OUTSTANDING:
                return
            self._give(child, self._waiting.popleft())

    def _give(self, child: _Child, task: _Task) -> None:
        child.tasks.append(task)
        child.taken += 1
        if len(child.tasks) == 1:
            self._start_timer(child)
        child.process.send(task.body)
        if child.taken == self._settings.jobs_per_child:
            self._fill()

    def _answer(self, child: _Child, body: bytes) -> None:
        answer = json.loads(body)
        if "ready" in answer:
            self._welcome(child)
            return
        task = child.tasks.popleft()
        assert task.number == answer["id"], "a child answers in the order it was asked"
        child.stop_timer()
        if child.tasks:
            self._start_timer(child)
        _settle(task, answer)
        if child.retired and not child.tasks:
            child.process.retire()
        self._dispatch()

    def _start_timer(self, child: _Child) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._settings.deadline_s
        child.timer = loop.call_at(due, self._overdue, child, child.tasks[0], due)

    def _overdue(self, child: _Child, task: _Task, due: float) -> None:
        child.process.read()  # the answer may have come while the loop was busy
        if not child.tasks or child.tasks[0] is not task:
            return
        if asyncio.get_running_loop().time() - due > _STALL_S:
            self._start_timer(child)
            return
        _log.warning("Rendering process %d took too long.", child.process.pid, extra={"action": "render_overdue"})
        limit = f"{self._settings.deadline_s:g}"
        child.tasks.popleft().fail(
            PermanentError(FailureCode.RENDER_TIMEOUT, f"Rendering the picture took longer than {limit} s, the limit.")
        )
        child.process.kill()
        metrics.CHILD_RESTARTS.add("overdue")
        self._bury(child)

    # -- processes

    def _fill(self) -> None:
        """Start what is missing; a process near its last job counts as missing until another is there."""
        self._refill = None
        if self._closed or self._broken is not None:
            return
        lasting = sum(child.taken < self._settings.jobs_per_child for child in self._children)
        # One more than wanted at the most: worn processes are replaced one after the other, not all at once.
        for _ in range(min(self._width - lasting, self._width + 1 - len(self._children))):
            if not self._spawn():
                return

    def _spawn(self) -> bool:
        """Start a process; when the machine refuses one, try again later and tell False."""

        def on_frame(body: bytes) -> None:
            self._answer(child, body)

        def on_gone() -> None:
            self._lose(child)

        try:
            child = _Child(ChildProcess(self._settings.memory_bytes, on_frame, on_gone))
        except OSError as error:
            _log.warning("No rendering process can be started: %s.", error.strerror, extra={"action": "child_refused"})
            self._retry_start(f"the system refuses another process ({error.strerror})")
            return False
        self._children.append(child)
        return True

    def _welcome(self, child: _Child) -> None:
        child.ready = True
        self._failed_starts = 0
        if self._started is not None and not self._started.done():
            self._started.set_result(None)
        able = [each for each in self._children if each.ready and not each.retired]
        worn = [each for each in able if each.taken >= self._settings.jobs_per_child]
        for old in worn[: max(0, len(able) - self._width)]:
            old.retired = True
            if not old.tasks:
                old.process.retire()
        self._dispatch()

    def _lose(self, child: _Child) -> None:
        """A process has closed its end: as asked, at its start, or in the midst of a job."""
        if child.tasks:
            child.tasks.popleft().fail(
                TransientError(FailureCode.RENDER_CRASHED, "The process that rendered the picture ended abnormally.")
            )
        if not self._closed:
            metrics.CHILD_RESTARTS.add("worn" if child.retired else "crashed")
        self._bury(child)

    def _bury(self, child: _Child) -> None:
        child.stop_timer()
        self._children.remove(child)
        self._waiting.extendleft(reversed(child.tasks))
        child.tasks.clear()
        self._in_background(self._reap(child))
        if self._closed:
            return
        if child.ready:
            self._fill()
        else:
            self._retry_start(child.process.complaints.strip() or "it wrote no reason")
        self._dispatch()

    def _retry_start(self, complaint: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= _STARTS and not self._children:
            self._break(complaint)
        elif self._refill is None:
            pause = min(_PAUSE_S * 2 ** min(self._failed_starts - 1, 10), _LONGEST_PAUSE_S)
            self._refill = asyncio.get_running_loop().call_later(pause, self._fill)

    def _break(self, complaint: str) -> None:
        self._broken = PoolBroken(f"rendering processes end as soon as they are started: {complaint}")
        if self._started is not None and not self._started.done():
            self._started.set_exception(self._broken)
        while self._waiting:
            self._waiting.popleft().fail(self._broken)

    async def _reap(self, child: _Child) -> None:
        code = await child.process.ended()
        level = logging.DEBUG if child.retired or self._closed else logging.WARNING
        facts = (child.process.pid, code, child.process.complaints)
        _log.log(level, "Rendering process %d ended with %d: %s", *facts, extra={"action": "child_ended"})

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    async def aclose(self) -> None:
        """End every process; what is being rendered fails. May be repeated."""
        self._closed = True
        if self._refill is not None:
            self._refill.cancel()
        for child in self._children:
            child.stop_timer()
            child.process.kill()
            self._in_background(self._reap(child))
        unanswered = [task for child in self._children for task in child.tasks] + list(self._waiting)
        self._children.clear()
        self._waiting.clear()
        await asyncio.gather(*self._reaping)
        for task in unanswered:
            task.fail(TransientError(FailureCode.RENDER_CRASHED, "Rendering stopped before the picture was done."))


def _settle(task: _Task, answer: dict[str, Any]) -> None:
    if "failure" in answer:
        error: PipelineError = error_of(answer["failure"])
        if answer["detail"]:
            code = error.failure.code.value
            _log.info("Not rendered, %s: %s", code, answer["detail"], extra={"action": "render_failed"})
        task.fail(error)
    elif task.answered.done():
        task.discard()
    else:
        task.answered.set_result(RenderResult.from_mapping(answer["result"]))
