"""A mill as its user runs it, `imagemill up`, and the commands that one gives to it, all in processes of their own."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support import pictures
from tests.support.eventually import eventually_blocking
from tests.support.picture_server import PictureServer, picture, serve_in_thread, slow
from tests.support.processes import Ended, Program

IMAGEMILL = str(Path(sys.executable).with_name("imagemill"))
LONGEST_S = 60.0
PHOTO = pictures.jpeg(64, 48)

_BANNER = re.compile(r"is up at (\S+)\.\n(?:.*\n)+Ctrl-C")


class ServingMill:
    """A mill with its data folder, a picture server beside it, and a place for lists."""

    def __init__(self, folder: Path, server: PictureServer) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.server = server
        self.to = "127.0.0.1:0"
        """Where it listens; a free port until it has been started, and that one ever after."""
        self._programs: list[Program] = []

    def up(self, *options: str) -> Program:
        """Start the mill, and wait until it says where it is."""
        program = self.begin(
            "up", "--data", str(self.data), "--listen", self.to, "--allow-net", "127.0.0.0/8", *options
        )
        program.wait_until(lambda: _BANNER.search(program.out))
        found = _BANNER.search(program.out)
        assert found is not None
        self.to = found.group(1)
        return program

    def kill(self, program: Program) -> None:
        """Let the mill and all its processes die on the spot."""
        program.send_group(signal.SIGKILL)
        assert program.ended(5.0).code == -signal.SIGKILL

    def begin(self, *words: str) -> Program:
        """Start a command."""
        program = Program([IMAGEMILL, *words], self.folder)
        self._programs.append(program)
        return program

    def start(self, *words: str) -> Program:
        """Start a command that asks this mill."""
        return self.begin(*words, "--to", self.to)

    def ask(self, *words: str) -> Ended:
        """Do a command that asks this mill, to its end."""
        return self.start(*words).ended(LONGEST_S)

    def told(self, *words: str) -> list[dict[str, object]]:
        """Return what a command tells as JSON lines; it must end well or say that items failed."""
        ended = self.ask(*words, "-o", "json")
        assert ended.code in (0, 1), ended.said
        return [json.loads(line) for line in ended.out.splitlines()]

    def write_list(self, name: str, lines: list[str]) -> str:
        """Write a list, and return its path."""
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return str(path)

    def good(self, number: int, name: str = "good") -> list[str]:
        """URLs of pictures that come at once."""
        return [self.server.route(f"/{name}/{n}.jpg", picture(pictures.numbered(PHOTO, n))) for n in range(number)]

    def slow(self, number: int, seconds: float, name: str = "slow") -> list[str]:
        """URLs of pictures that take so long each."""
        rate = len(PHOTO) / seconds
        return [self.server.route(f"/{name}/{n}.jpg", slow(pictures.numbered(PHOTO, n), rate)) for n in range(number)]

    def pictures_of(self, batch: str) -> Path:
        """The folder with a batch's results."""
        return self.data / "pictures" / batch

    def manifest(self, batch: str) -> list[dict[str, str]]:
        """The rows of a batch's manifest, once the batch's folder is complete."""
        folder = self.pictures_of(batch)
        eventually_blocking(lambda: (folder / "report.json").exists(), timeout_s=10.0)
        with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def run_in_shell(self, script: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a line of bash in which `$mill` is the command and `$to` names this mill."""
        known = {**os.environ, "mill": IMAGEMILL, "to": f"--to={self.to}", **(env or {})}
        words = ["bash", "-o", "pipefail", "-c", script]
        return subprocess.run(words, capture_output=True, text=True, timeout=LONGEST_S, check=False, env=known)

    def destroy(self) -> None:
        """Leave nothing running."""
        for program in self._programs:
            program.destroy()


@contextmanager
def serving_mill(folder: Path) -> Iterator[ServingMill]:
    """Give a mill that is not started yet; nothing of it runs on afterwards."""
    with serve_in_thread() as server:
        mill = ServingMill(folder, server)
        try:
            yield mill
        finally:
            mill.destroy()
