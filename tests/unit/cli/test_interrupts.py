"""Signals: the first ends in good order, the second at once, and nothing holds the process longer than allowed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import asyncio, os, sys, time
from imagemill.cli import interrupts
from imagemill.cli.interrupts import Interrupts
interrupts.LONGEST_STOP_S = 0.3

async def main():
    with Interrupts(lambda: print("first", flush=True), lambda: os.write(1, b"last words\\n")) as heard:
        print("ready", flush=True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            {cleaning}
            print("cleaned", flush=True)
    return int(heard.code)

sys.exit(asyncio.run(main()))
"""


def ended(cleaning: str, *signals: signal.Signals) -> tuple[int, list[str], float]:
    """Return code, lines and seconds of a program that gets `signals`, each after the line before it."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(cleaning=cleaning)], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    lines = []
    begun = time.monotonic()
    for number in signals:
        lines.append(program.stdout.readline().strip())
        program.send_signal(number)
    rest, _ = program.communicate(timeout=10)
    return program.returncode, lines + rest.splitlines(), time.monotonic() - begun


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_the_work_end_in_good_order(number: signal.Signals, code: int) -> None:
    assert ended("await asyncio.sleep(0)", number)[:2] == (code, ["ready", "first", "cleaned"])


def test_the_second_signal_ends_at_once() -> None:
    code, lines, _ = ended("await asyncio.Event().wait()", signal.SIGINT, signal.SIGINT)

    assert (code, lines) == (130, ["ready", "first", "last words"])


def test_an_end_that_takes_too_long_is_cut_short_even_if_the_loop_hangs() -> None:
    code, lines, seconds = ended("time.sleep(30)", signal.SIGINT)

    assert (code, lines) == (130, ["ready", "first", "last words"])
    assert seconds < 5
