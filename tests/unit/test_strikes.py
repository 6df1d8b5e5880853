"""A process dies at the point it is told, at the passing it is told, and at no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from imagemill.strikes import VARIABLE, Point, mark

PROGRAM = """
from imagemill.strikes import Point, strike

for number in range(1, 6):
    print(number, flush=True)
    strike(Point.GROUP_FOLDED)
    strike(Point.ACKS_SENT)
"""


def ended(told: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, VARIABLE: told}
    return subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=30)


def test_a_process_kills_itself_as_it_passes_its_point_for_the_nth_time_and_says_so() -> None:
    done = ended("acks-sent:3")

    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["1", "2", "3"]
    assert done.stderr == mark(Point.ACKS_SENT)


def test_without_a_number_the_first_passing_counts() -> None:
    assert ended("group-folded").stdout.split() == ["1"]


def test_a_process_that_is_told_nothing_passes_every_point() -> None:
    done = ended("")

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["1", "2", "3", "4", "5"], "")


def test_a_point_that_is_not_there_is_refused() -> None:
    done = ended("nowhere:1")

    assert done.returncode == 1
    assert "'nowhere' is not a valid Point" in done.stderr
