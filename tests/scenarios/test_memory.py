"""Memory does not grow with the list; `benchmarks/memory.py` checks the same with 100,000 lines and more."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from tests.support import pictures
from tests.support.house import House
from tests.support.picture_server import Reply, picture
from tests.support.processes import Program

FEW, MANY = 1_000, 20_000
MOST_GROWTH_MIB = 32.0
SAMPLE_EVERY_S = 0.25
TINY = pictures.jpeg(32, 24)


def answer(path: str) -> Reply:
    return picture(pictures.numbered(TINY, int(path.strip("/"))))


class PeakMemory:
    """Samples the proportional set size of a program's processes, and keeps the greatest sum, in MiB."""

    def __init__(self, program: Program) -> None:
        self.mib = 0.0
        self._program = program
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_EVERY_S):
            pids = [self._program.pid, *(child.pid for child in self._program.children())]
            self.mib = max(self.mib, sum(_pss_mib(pid) for pid in pids))


def _pss_mib(pid: int) -> float:
    # A process may end while it is looked at.
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def peak_mib(house: House, lines: int, out: Path) -> float:
    house.write_list(house.server.url(f"/{number}") for number in range(lines))
    running = house.start(out=out)
    with PeakMemory(running) as peak:
        ended = running.ended(100.0)
    assert ended.code == 0, ended.said
    assert sum(1 for row in house.manifest(out) if row["fit-256"]) == lines
    return peak.mib


@pytest.mark.timeout(180)
def test_memory_does_not_grow_with_the_list(house: House, tmp_path: Path) -> None:
    house.server.fallback = answer

    few = peak_mib(house, FEW, tmp_path / "few")
    many = peak_mib(house, MANY, tmp_path / "many")

    assert few > 0
    assert many <= few + MOST_GROWTH_MIB, f"{few:.1f} MiB with {FEW:,} lines, {many:.1f} with {MANY:,}"
