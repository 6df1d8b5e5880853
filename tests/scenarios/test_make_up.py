"""`make up` and `make down`: a mill of several processes, its servers included, that keeps its batches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import pictures
from tests.support.cluster import IMAGEMILL
from tests.support.picture_server import PictureServer, picture, serve_in_thread

ROOT = Path(__file__).parents[2]
ITEMS = 20
LONGEST_S = 90.0


class Household:
    """What the tool starts, in a folder and on ports that nobody else has."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._environment = {
            **os.environ,
            "MILL_HOME": str(home),
            "MILL_PORTS": "free",
            "IMAGEMILL_ALLOW_NETS": "127.0.0.0/8",
            "IMAGEMILL_CHILDREN": "1",
        }

    def make(self, wish: str) -> str:
        """Do what `make up` or `make down` does once the project is set up, and return what it says."""
        return self._run([sys.executable, str(ROOT / "tools" / "mill.py"), wish])

    def ask(self, *words: str) -> str:
        """Ask the mill by the command."""
        port = self._state()["ports"]["gateway"]
        return self._run([IMAGEMILL, *words, "--to", f"127.0.0.1:{port}"])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self._logs()}"
        return done.stdout

    def _state(self) -> dict[str, dict[str, object]]:
        state: dict[str, dict[str, object]] = json.loads((self.home / "mill.json").read_text())
        return state

    def _logs(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in self.home.glob("logs/*.log"))

    def processes(self) -> list[psutil.Process]:
        """Everything alive that was started with this folder as its home, RabbitMQ's and PostgreSQL's own included."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get("MILL_HOME") == str(self.home)
        except psutil.Error:
            return False

    def destroy(self) -> None:
        """Leave nothing of it."""
        for process in self.processes():
            process.kill()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture
def household() -> Iterator[Household]:
    # PostgreSQL's user must get there, and pytest's folders are closed to others.
    home = Path(tempfile.mkdtemp(prefix="mill-"))
    home.chmod(0o755)
    household = Household(home)
    try:
        yield household
    finally:
        household.destroy()


@pytest.fixture
def server() -> Iterator[PictureServer]:
    base = pictures.jpeg(160, 120)
    with serve_in_thread() as server:
        server.fallback = lambda path: picture(pictures.numbered(base, int(path.strip("/"))))
        yield server


@pytest.mark.timeout(400)
def test_a_mill_is_brought_up_used_stopped_and_brought_up_again_with_its_batches(
    household: Household, server: PictureServer, tmp_path: Path
) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_text("".join(f"{server.url(f'/{number}')}\n" for number in range(ITEMS)))

    assert "The mill is up at 127.0.0.1:" in household.make("up")
    household.ask("submit", str(urls), "--batch-id", "first", "--watch")
    assert "Starting" not in household.make("up")

    assert "The mill is down." in household.make("down")
    assert household.processes() == []
    assert "There was no mill up." in household.make("down")

    household.make("up")
    batch = json.loads(household.ask("get", "first", "-o", "json"))
    assert (batch["state"], batch["counts"]["succeeded"]) == ("COMPLETED", ITEMS)
    household.ask("submit", str(urls), "--batch-id", "second", "--watch")
    assert len(list((household.home / "blobs").rglob("*.jpg"))) >= 2 * ITEMS
    household.make("down")
    assert household.processes() == []
