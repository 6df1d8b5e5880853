"""How soon the command is there: `imagemill --help`, and `imagemill run` of one picture from a local server.

Writes what it finds into docs/explanation/performance.md.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import corpus
from benchmarks.jobs import R, write_list
from benchmarks.machine import facts
from benchmarks.publish import publish_startup
from benchmarks.runners import Mill, Run
from benchmarks.server import serving

GOALS = {"imagemill --help": 0.3, "imagemill run of one picture": 1.5}
"""Seconds."""
_TIMES = 10


def measured(folder: Path) -> dict[str, list[float]]:
    """Return the seconds that each command took, in order of size."""
    mill = Mill()
    mill.prepare(folder)
    corpus.ensure(folder, R.kind)
    helped = sorted(_timed([str(mill.program), "--help"]) for _ in range(_TIMES))
    with serving(folder) as address, tempfile.TemporaryDirectory() as place:
        urls = Path(place) / "urls.txt"
        write_list(address, R.kind, 1, urls)
        runs = [mill.command(Run(R, 1, urls, Path(place) / f"out-{number}")) for number in range(_TIMES)]
        ran = sorted(_timed(command) for command in runs)
    return dict(zip(GOALS, (helped, ran), strict=True))


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where everything is kept (%(default)s)")
    choices = parser.parse_args()
    rows: list[tuple[str, ...]] = [("command", "seconds", "goal")]
    for name, times in measured(choices.folder).items():
        rows.append((name, f"{statistics.median(times):.2f} ({times[0]:.2f}-{times[-1]:.2f})", f"{GOALS[name]:g}"))
        print(f"{rows[-1][0]:<30} {rows[-1][1]} s, at most {GOALS[name]:g}", flush=True)
    publish_startup(rows, facts())
    return 0


if __name__ == "__main__":
    sys.exit(main())
