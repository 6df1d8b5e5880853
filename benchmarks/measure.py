"""What a command takes of the machine, all processes it starts included, and all that stand and work for it.

CPU is what the kernel accounts to the processes once they are reaped. So that none escapes, the command runs under a
small process of its own (this module as a program), which adopts whatever the command's processes leave behind and
waits for all of them. Servers that stand already are read before the command and, when they rest again, after it.
Memory is sampled: the greatest sum of the proportional set sizes (PSS) of all processes at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil

_PR_SET_CHILD_SUBREAPER = 36
SELDOM_S, OFTEN_S = 1.0, 0.2
"""How often memory is looked at: each look costs some 10 ms of a core, which a measure of speed must not take."""
_RESTING_S, _RESTING_SHARE = 0.5, 0.1
"""Servers rest when for so long they have taken less than this share of a core."""
_LONGEST_UNREST_S = 10.0
_GRACE_S = 10.0
"""How long processes may outlive the command before they are killed and the run counts as unclean."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run took."""

    exit_code: int
    wall_s: float
    """From the start of the command to its end, its start-up included."""
    cpu_s: float
    """User and system time of all its processes, and of all that stood for it."""
    peak_pss_bytes: int
    peak_processes: int
    left_behind: int
    """Processes that had to be killed after the command had ended."""
    standing_cpu_s: Mapping[str, float] = field(default_factory=dict)
    """What each server took of `cpu_s`, by its name."""
    start_cpu_s: float = 0.0
    """What the servers had taken before, for their own start; not in `cpu_s`."""


def measure(
    command: list[str],
    *,
    log: Path,
    environment: Mapping[str, str] = MappingProxyType({}),
    standing: Mapping[str, int] = MappingProxyType({}),
    sample_every_s: float = SELDOM_S,
) -> Usage:
    """Run `command`, its output going to the file `log`, and return what it and the servers `standing` took.

    `standing` names each server's first process.
    """
    result = log.with_suffix(".usage.json")
    order = json.dumps({"log": str(log), "every_s": sample_every_s, "standing": dict(standing), "command": command})
    subprocess.run(
        [sys.executable, "-m", "benchmarks.measure", str(result), order],
        env={**os.environ, **environment},
        check=True,
    )
    return Usage(**json.loads(result.read_text()))


class Sampler(threading.Thread):
    """Watches the memory of some processes and of all their descendants, this process itself apart."""

    def __init__(self, every_s: float, firsts: Iterable[int]) -> None:
        super().__init__(daemon=True)
        self._every_s = every_s
        self._firsts = tuple(firsts)
        self.peak_pss_bytes = 0
        self.peak_processes = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(self._every_s):
            # One may be a descendant of another.
            family = {process.pid for first in self._firsts for process in _tree(first)} - {os.getpid()}
            self.peak_processes = max(self.peak_processes, len(family))
            self.peak_pss_bytes = max(self.peak_pss_bytes, sum(map(_pss_bytes, family)))

    def stop(self) -> None:
        self._over.set()
        self.join()


def _tree(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process and of all its descendants, those that have ended included."""
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def cpu_at_rest(standing: Mapping[str, int], longest_s: float = _LONGEST_UNREST_S) -> dict[str, float]:
    """Wait until the servers have done what was left to do; return what each has taken until now."""
    deadline = time.monotonic() + longest_s
    before = {name: cpu_of(pid) for name, pid in standing.items()}
    while standing and time.monotonic() < deadline:
        time.sleep(_RESTING_S)
        now = {name: cpu_of(pid) for name, pid in standing.items()}
        taken, before = sum(now.values()) - sum(before.values()), now
        if taken < _RESTING_S * _RESTING_SHARE:
            break
    return before


def _pss_bytes(pid: int) -> int:
    # A process may end while it is looked at.
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _run(command: list[str], log: Path, sample_every_s: float, standing: Mapping[str, int]) -> Usage:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sampler = Sampler(sample_every_s, [os.getpid(), *standing.values()])
    sampler.start()
    at_start = {name: cpu_of(pid) for name, pid in standing.items()}
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    exit_code = process.wait()
    wall_s = time.perf_counter() - started
    left_behind = _reap_the_rest()
    at_end = cpu_at_rest(standing)
    sampler.stop()
    taken = {name: round(at_end[name] - at_start[name], 3) for name in standing}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Usage(
        exit_code=exit_code,
        wall_s=wall_s,
        cpu_s=used.ru_utime + used.ru_stime + sum(taken.values()),
        peak_pss_bytes=sampler.peak_pss_bytes,
        peak_processes=sampler.peak_processes,
        left_behind=left_behind,
        standing_cpu_s=taken,
        start_cpu_s=sum(at_start.values()),
    )


def _reap_the_rest() -> int:
    """Wait for the adopted processes; return how many had to be killed."""
    killed, deadline = 0, time.monotonic() + _GRACE_S
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return killed
        if pid == 0 and time.monotonic() > deadline:
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                    killed += 1
            deadline = time.monotonic() + _GRACE_S
        elif pid == 0:
            time.sleep(0.01)


if __name__ == "__main__":
    order = json.loads(sys.argv[2])
    usage = _run(order["command"], Path(order["log"]), order["every_s"], order["standing"])
    Path(sys.argv[1]).write_text(json.dumps(asdict(usage)))
