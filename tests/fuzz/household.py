"""The parent of the rendering processes as tests hold it: one damaged picture at a time, between two good ones."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from imagemill.domain.recipe import Recipe
from processor_svc.jobs import RenderJob
from tests.fuzz.originals import originals

ROOT = Path(__file__).parents[2]
DEADLINE_S = 5.0
RECIPES = (
    {"variants": [{"name": "a", "width": 24}]},
    {
        "variants": [
            {"name": "a", "width": 32, "height": 32, "mode": "cover", "format": "webp"},
            {"name": "b", "scale": 0.5, "format": "png"},
        ],
        "metadata": "keep",
        "color_profile": "keep",
    },
    {"variants": [{"name": "a", "width": 24, "height": 24, "mode": "pad", "format": "source"}], "metadata": "keep"},
)
"""What is made of damaged pictures; the last keeps most of the original's ways."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A job and the files it may write."""

    job: RenderJob

    def to_mapping(self) -> dict[str, Any]:
        asked: dict[str, Any] = json.loads(self.job.to_json(0))
        return asked

    def written(self) -> dict[str, bytes]:
        """What lies in its output files."""
        return {name: Path(path).read_bytes() for name, path in self.job.outputs.items() if os.path.exists(path)}

    def remove(self) -> None:
        for path in (self.job.path, *self.job.outputs.values()):
            Path(path).unlink(missing_ok=True)


class Household:
    """A parent with its rendering processes, in processes of their own."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder
        self._numbers = itertools.count()
        self._memory = psutil.Process(process.pid)

    @property
    def memory_bytes(self) -> int:
        """Memory that the parent holds at this moment."""
        return int(self._memory.memory_info().rss)

    def ask(self, *jobs: Asked) -> dict[str, Any]:
        """Have jobs rendered side by side; the answer tells of each in its order."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([each.to_mapping() for each in jobs]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the parent has died"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def job(self, data: bytes, format_: str, recipe: Recipe) -> Asked:
        """Write an original and make the job for it."""
        stem = self._folder / str(next(self._numbers))
        stem.write_bytes(data)
        outputs = {variant.name: f"{stem}-{variant.name}" for variant in recipe.variants}
        return Asked(RenderJob(str(stem), len(data), format_, recipe, outputs))

    def good_job(self) -> Asked:
        return self.job(originals("jpeg")["baseline"], "jpeg", Recipe.parse(RECIPES[0]))

    def freeze_a_child(self) -> int:
        """Stop one rendering process as soon as all are there, and tell which: its next job meets the deadline."""
        self.ask()
        pid: int = self._memory.children()[0].pid
        os.kill(pid, signal.SIGSTOP)
        return pid

    def leave(self) -> str:
        """End it as its owner would, and give what it wrote to standard error."""
        _, complaints = self._process.communicate(timeout=30)
        assert self._process.returncode == 0
        return complaints


@contextmanager
def household(folder: Path, deadline_s: float = DEADLINE_S) -> Iterator[Household]:
    """Start one; it is gone at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.parent", str(deadline_s)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Household(process, folder)
        finally:
            process.kill()
