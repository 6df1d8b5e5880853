"""Ctrl-C and SIGTERM: a clean end within two seconds, an immediate one the second time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

from imagemill.cli.exits import CommandError, ExitCode

T = TypeVar("T")

log = logging.getLogger(__name__)

LONGEST_STOP_S = 1.9
"""A mill that has not drained by then is left as it is: nothing is lost, its items are claimed again."""

_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


class Interrupts:
    """While entered, turns the first signal into the cancellation of the current task.

    The second one, or a stop that takes too long, ends the process on the spot; `last_words` is called before.
    """

    def __init__(self, on_first: Callable[[], None], last_words: Callable[[], None]) -> None:
        self._on_first = on_first
        self._last_words = last_words
        self.code: ExitCode | None = None
        """How the command ends because of a signal; None while there was none."""

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer: threading.Timer | None = None
        for number in _CODES:
            asyncio.get_running_loop().add_signal_handler(number, self._hear, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in _CODES:
            asyncio.get_running_loop().remove_signal_handler(number)
        if self.code is not None:
            # The rest is the interpreter's own end: a signal must not make a traceback of it, and the timer
            # goes on guarding it.
            for number in _CODES:
                signal.signal(number, _end_quietly)

    def _hear(self, number: signal.Signals) -> None:
        if self.code is not None:
            self._end_now()
            return
        self.code = _CODES[number]
        # A thread of its own: the event loop may be what hangs.
        self._timer = threading.Timer(LONGEST_STOP_S, self._end_now)
        self._timer.daemon = True
        self._timer.start()
        self._task.cancel()
        self._on_first()

    def _end_now(self) -> None:
        assert self.code is not None
        try:
            self._last_words()
        finally:
            os._exit(self.code)


async def interruptible(work: Awaitable[T], on_first: Callable[[], None], words: Callable[[], str]) -> T:
    """Await `work`, which a signal cancels; `on_first` is called at once, and `words` say how things stand.

    Raises:
        CommandError: a signal came; with `words` and its exit code.
    """

    def last_words() -> None:
        # Straight to the descriptor: whatever hangs may hold a lock of the streams.
        os.write(2, f"imagemill: {words()}\n".encode())

    with Interrupts(on_first, last_words) as interrupts:
        try:
            return await work
        except (Exception, asyncio.CancelledError) as error:
            if interrupts.code is None:
                raise
            unforeseen = None if isinstance(error, asyncio.CancelledError) else error
            log.info("Stopped by a signal.", exc_info=unforeseen)
            raise CommandError(words(), interrupts.code) from None


def _end_quietly(number: int, frame: object) -> None:
    os._exit(_CODES[signal.Signals(number)])
