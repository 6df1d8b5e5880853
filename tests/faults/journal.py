"""The record of a run: one JSON object a line, the run itself first, what was done to it, and the verdict last."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from imagemill import __version__

RESULTS = Path(__file__).with_name("results")

Line = dict[str, Any]


class Journal:
    """Takes lines from any thread; each is on disk before the next thing happens."""

    def __init__(self, path: Path, **about: object) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self.write("run", **about, **_machine())

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def write(self, kind: str, **what: object) -> None:
        """Add a line."""
        with self._lock:
            self._file.write(json.dumps({"kind": kind, "t": round(self.seconds, 2)} | what) + "\n")
            self._file.flush()

    def close(self) -> None:
        """End the record."""
        self._file.close()


@dataclass(frozen=True)
class Record:
    """A run as it was written down."""

    run: Line
    kills: Sequence[Line]
    others: Sequence[Line]
    verdict: Line


def read(path: Path) -> Record:
    """Read a record. Raises `ValueError` for one that has no end."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    by_kind: dict[str, list[Line]] = {kind: [line for line in lines if line["kind"] == kind] for kind in _KINDS}
    if not (by_kind["run"] and by_kind["verdict"]):
        raise ValueError(f"{path.name} is the record of a run that did not come to its end")
    return Record(by_kind["run"][0], by_kind["kill"], by_kind["fault"], by_kind["verdict"][0])


_KINDS = ("run", "kill", "fault", "verdict")


def _machine() -> Line:
    return {
        "imagemill": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
    }
