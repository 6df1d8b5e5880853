"""How much is tried: little and always the same in every run of the tests, much and at random on demand."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase

_USUAL = 1000
CASES = int(os.environ.get("IMAGEMILL_TEST_FUZZ_CASES", _USUAL))
"""Damaged pictures in all; other inputs get a share of that."""
SEED = os.environ.get("IMAGEMILL_TEST_FUZZ_SEED")
"""What decides over chance; without it each run tries the same."""

TALLY: Counter[str] = Counter()
"""What came of the cases, to be shown at the end."""


def cases(usual: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test on so many cases, or on as many more as are asked for."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        chosen: Any = hypothesis.settings(
            max_examples=max(1, usual * CASES // _USUAL),
            derandomize=SEED is None,
            deadline=None,
            database=None,
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
            suppress_health_check=(HealthCheck.too_slow, HealthCheck.function_scoped_fixture),
            print_blob=True,
        )
        seeded = test if SEED is None else hypothesis.seed(int(SEED))(test)
        decorated: Callable[..., None] = chosen(seeded)
        return decorated

    return decorate
