"""Waiting for something to become true, without guessing how long it takes."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")

_PAUSE_S = 0.005


@overload
async def eventually(
    check: Callable[[], Coroutine[Any, Any, T]], *, timeout_s: float = 5.0, pause_s: float = _PAUSE_S
) -> T: ...


@overload
async def eventually(check: Callable[[], T], *, timeout_s: float = 5.0, pause_s: float = _PAUSE_S) -> T: ...


async def eventually(
    check: Callable[[], T | Coroutine[Any, Any, T]], *, timeout_s: float = 5.0, pause_s: float = _PAUSE_S
) -> T:
    """Return the first true value of `check`, asked again until `timeout_s` seconds have passed.

    `check` may be a coroutine function. An `AssertionError` it raises means *not yet*, so a block of asserts
    serves as a check if it returns something true in the end.

    Raises:
        AssertionError: the time is over; says what the last answer was.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer, refusal = await _ask(check)
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout_s} s; the last answer was {answer!r}") from refusal
        await asyncio.sleep(pause_s)


def eventually_blocking(check: Callable[[], T], *, timeout_s: float = 5.0, pause_s: float = _PAUSE_S) -> T:
    """Do what `eventually` does, where there is no event loop."""
    deadline = time.monotonic() + timeout_s
    while not (answer := check()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout_s} s; the last answer was {answer!r}")
        time.sleep(pause_s)
    return answer


async def _ask(check: Callable[[], T | Awaitable[T]]) -> tuple[T | None, AssertionError | None]:
    try:
        answer = check()
        return (await answer if inspect.isawaitable(answer) else answer), None
    except AssertionError as refusal:
        return None, refusal
