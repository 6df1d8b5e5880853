"""A mill in processes of its own that serves until it is killed, and may be started again where it stood."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Program


class StandingMill:
    """A mill with its folder; `target` is where it serves, before and after a restart."""

    def __init__(self, folder: Path, listen: str = "") -> None:
        self._folder = folder
        self._listen = listen
        self.target = ""
        self.start()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.start_soon()
        self._wait_until_it_serves()
        self.target = self._program.out.strip()
        # Clients know it by this address.
        self._listen = "" if self.target.startswith("unix:") else self.target

    def start_soon(self) -> None:
        """Start it without waiting for it."""
        home = self._folder / "mill"
        command = [sys.executable, "-m", "tests.scenarios.standing_mill", str(home), self._listen]
        self._program = Program(command, self._folder)

    def kill(self) -> None:
        """Let it die on the spot, with all its processes; what falls must have stood."""
        self._wait_until_it_serves()
        self._program.send_group(signal.SIGKILL)
        self._program.ended(5.0)

    def stop(self) -> None:
        """Ask it to end in good order, and wait for it."""
        self._wait_until_it_serves()
        self._program.send(signal.SIGTERM)
        ended = self._program.ended(10.0)
        assert ended.code == 0, ended.said

    def _wait_until_it_serves(self) -> None:
        self._program.wait_until(lambda: self._program.out.endswith("\n"))

    def destroy(self) -> None:
        """Leave nothing of it running."""
        self._program.destroy()


@contextmanager
def standing_mill(folder: Path, listen: str = "") -> Iterator[StandingMill]:
    """Have a mill stand; on a unix socket in its folder unless `listen` names an address."""
    mill = StandingMill(folder, listen)
    try:
        yield mill
    finally:
        mill.destroy()
