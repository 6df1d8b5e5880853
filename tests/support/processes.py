"""A program in processes of its own, that a test may kill in every way and of which nothing may stay behind.

Every process that the program starts inherits a mark in its environment; by it, and by nothing else, they are found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_MARK = "PROGRAM_UNDER_TEST"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    code: int
    """The exit code; negative is the number of the signal that killed it."""
    out: str
    err: str
    took_s: float
    """From the start, or from the latest signal it was sent."""

    @property
    def said(self) -> str:
        """Both streams, for the message of a failed test."""
        return f"exit code {self.code}\n{self.out}\n{self.err}"


class Program:
    """A command at work, in a session and process group of its own."""

    def __init__(
        self, command: Sequence[str], folder: Path, *, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the command; `environment` is added to this process's own."""
        self._mark = uuid.uuid4().hex
        self._files = [folder / f"{self._mark}.{stream}" for stream in ("in", "out", "err")]
        self._files[0].write_bytes(stdin)
        with self._files[0].open("rb") as given, self._files[1].open("wb") as out, self._files[2].open("wb") as err:
            self._process = subprocess.Popen(
                command,
                stdin=given,
                stdout=out,
                stderr=err,
                env={**os.environ, **(environment or {}), _MARK: self._mark},
                start_new_session=True,
            )
        self._since = time.monotonic()

    @property
    def pid(self) -> int:
        """The id of the first process, which is its group's as well."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the first process has not ended."""
        return self._process.poll() is None

    @property
    def out(self) -> str:
        """What it has written to standard output so far."""
        return self._files[1].read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it has written to standard error so far."""
        return self._files[2].read_text(encoding="utf-8")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the first process alone."""
        self._since = time.monotonic()
        self._process.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        """Send a signal to all its processes at once, as a terminal does."""
        self._since = time.monotonic()
        os.killpg(self.pid, number)

    def children(self) -> list[psutil.Process]:
        """The living processes that the first one has started."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def family(self) -> list[psutil.Process]:
        """Every living process of the program, whoever its parent is by now."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def ended(self, timeout_s: float = 60.0) -> Ended:
        """Wait for the end of the first process.

        Raises:
            AssertionError: it has not ended in time.
        """
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {timeout_s:g} s\n{self.out}\n{self.err}") from error
        return Ended(code, self.out, self.err, time.monotonic() - self._since)

    def wait_until(self, check: Callable[[], object], timeout_s: float = 30.0) -> None:
        """Wait until `check` gives something true.

        Raises:
            AssertionError: the program ended before that, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while not check():
            assert self.running, f"ended too early: {self.ended().said}"
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s\n{self.out}\n{self.err}"
            time.sleep(0.001)

    def destroy(self) -> None:
        """Leave nothing of it, whatever the test did to it."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.kill()
        self._process.wait()

    def _is_ours(self, process: psutil.Process) -> bool:
        # Processes come and go while they are looked at, and some are not ours to look at.
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get(_MARK) == self._mark
        return False
