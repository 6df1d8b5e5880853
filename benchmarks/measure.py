"""What a command takes of the machine, all processes it starts included.

CPU is what the kernel accounts to the processes once they are reaped. So that none escapes, the command runs under a
small process of its own (this module as a program), which adopts whatever the command's processes leave behind and
waits for all of them. Memory is sampled: the greatest sum of the proportional set sizes (PSS) of all processes at once.
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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import psutil

_PR_SET_CHILD_SUBREAPER = 36
SELDOM_S, OFTEN_S = 1.0, 0.2
"""How often memory is looked at: each look costs some 10 ms of a core, which a measure of speed must not take."""
_GRACE_S = 10.0
"""How long processes may outlive the command before they are killed and the run counts as unclean."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run took."""

    exit_code: int
    wall_s: float
    """From the start of the command to its end, its start-up included."""
    cpu_s: float
    """User and system time of all its processes."""
    peak_pss_bytes: int
    peak_processes: int
    left_behind: int
    """Processes that had to be killed after the command had ended."""


def measure(
    command: list[str],
    *,
    log: Path,
    environment: Mapping[str, str] = MappingProxyType({}),
    sample_every_s: float = SELDOM_S,
) -> Usage:
    """Run `command`, its output going to the file `log`, and return what it took."""
    result = log.with_suffix(".usage.json")
    subprocess.run(
        [sys.executable, "-m", "benchmarks.measure", str(result), str(log), str(sample_every_s), *command],
        env={**os.environ, **environment},
        check=True,
    )
    return Usage(**json.loads(result.read_text()))


class _Sampler(threading.Thread):
    """Watches the memory of all descendants of this process."""

    def __init__(self, every_s: float) -> None:
        super().__init__(daemon=True)
        self._every_s = every_s
        self.peak_pss_bytes = 0
        self.peak_processes = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(self._every_s):
            family = psutil.Process().children(recursive=True)
            self.peak_processes = max(self.peak_processes, len(family))
            self.peak_pss_bytes = max(self.peak_pss_bytes, sum(_pss_bytes(process.pid) for process in family))

    def stop(self) -> None:
        self._over.set()
        self.join()


def _pss_bytes(pid: int) -> int:
    # A process may end while it is looked at.
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _run(command: list[str], log: Path, sample_every_s: float) -> Usage:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sampler = _Sampler(sample_every_s)
    sampler.start()
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    exit_code = process.wait()
    wall_s = time.perf_counter() - started
    left_behind = _reap_the_rest()
    sampler.stop()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime
    return Usage(exit_code, wall_s, cpu_s, sampler.peak_pss_bytes, sampler.peak_processes, left_behind)


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
    usage = _run(sys.argv[4:], Path(sys.argv[2]), float(sys.argv[3]))
    Path(sys.argv[1]).write_text(json.dumps(asdict(usage)))
