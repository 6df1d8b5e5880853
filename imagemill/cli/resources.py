"""What this process and its rendering processes have used of the machine."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_UTIME, _STIME = 11, 12
"""Places in /proc/PID/stat behind the name of the program (proc(5))."""


@dataclass(frozen=True, slots=True)
class Resources:
    """CPU time, and the sum of the most that each living process has held."""

    cpu_s: float
    peak_memory_bytes: int

    def record(self) -> dict[str, object]:
        """Describe it for `report.json`."""
        return {"cpu_s": round(self.cpu_s, 2), "peak_memory_bytes": self.peak_memory_bytes}


def resources_used() -> Resources | None:
    """Measure the tree of this process since its start; None where the system does not tell of living children."""
    if not (_PROC / "self" / "task").is_dir():
        return None
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    peak_bytes = own.ru_maxrss * 1024
    for child in _children():
        # It may end between two looks.
        with suppress(OSError):
            cpu_s += _cpu_s(child)
            peak_bytes += _peak_bytes(child)
    return Resources(cpu_s, peak_bytes)


def _children() -> Iterator[Path]:
    for task in (_PROC / "self" / "task").iterdir():
        with suppress(OSError):
            yield from (_PROC / pid for pid in (task / "children").read_text().split())


def _cpu_s(process: Path) -> float:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / os.sysconf("SC_CLK_TCK")


def _peak_bytes(process: Path) -> int:
    for line in (process / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
