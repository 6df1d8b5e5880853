"""Schedules by hand: `python -m tests.ordering FIRST [LAST]`, from and to these seeds; says what fails, made small."""

from __future__ import annotations

import sys
import time

from tests.ordering.running import first_failure

if __name__ == "__main__":
    first, last = int(sys.argv[1]), int(sys.argv[-1])
    started = time.perf_counter()
    failed = first_failure(range(first, last + 1))
    if failed is not None:
        sys.exit(str(failed))
    sys.stdout.write(f"{last - first + 1} schedules held, in {time.perf_counter() - started:.1f} s.\n")
