"""Loops beside a service's main one, and waits that a stop ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from imagemill.ports.unavailable import PartUnavailable

log = logging.getLogger(__name__)


async def every(period_s: float, action: Callable[[], Awaitable[None]], due: asyncio.Event | None = None) -> NoReturn:
    """Do something periodically for ever, and whenever `due` is set; what is away is tried again at the next turn."""
    wake = due or asyncio.Event()
    while True:
        try:
            async with asyncio.timeout(period_s):
                await wake.wait()
        except TimeoutError:
            pass
        wake.clear()
        try:
            await action()
        except PartUnavailable as error:
            log.warning("A part is away: %s.", error)


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Wait so long, or until `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
