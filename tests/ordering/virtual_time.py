"""An event loop whose clock jumps to whatever is due next: an hour of waiting costs nothing, and nothing is a race.

What would run on a thread runs at once, in turn, so that one seed is one course of events.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

START = 1_000_000.0
"""What the clock says at first."""


STATEMENT_S = 0.0005
"""How long what would run on a thread takes, in seconds."""


class Standstill(Exception):
    """Everybody waits for somebody else, and no timer will wake any of them."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs everything that is ready, then moves its clock on to the next timer."""

    def __init__(self) -> None:
        self.now = START
        super().__init__(_Jump(self))
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self.now

    # The event loop's stub tells the arguments' types apart; nothing here looks at them.
    def run_in_executor(  # type: ignore[override]  # as above
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run a function here and now."""
        future = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # whatever it is, it is for whoever waits
            future.set_exception(error)
        else:
            # It is done before whoever asked hears of it: in between, that one may die.
            self.call_later(STATEMENT_S, _tell, future, result)
        return future


def _tell(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


class _Jump(selectors.BaseSelector):
    """Waits for no file: nothing comes from outside."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._keys[fileobj] = selectors.SelectorKey(
            fileobj, fileobj if isinstance(fileobj, int) else fileobj.fileno(), events, data
        )
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Standstill
        self._loop.now += max(timeout, 0.0)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


@contextmanager
def virtual_time() -> Iterator[VirtualLoop]:
    """Give a loop, by whose clock the whole process goes meanwhile."""
    loop = VirtualLoop()
    with patch.object(time, "time", loop.time), patch.object(time, "monotonic", loop.time):
        try:
            yield loop
        finally:
            loop.close()
