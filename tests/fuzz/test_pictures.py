"""Damaged pictures, given to real rendering processes: whatever they do there, they fail alone."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imagemill.domain.failures import FailureCode
from imagemill.domain.recipe import Recipe
from processor_svc.jobs import RenderJob
from tests.fuzz.effort import CASES, TALLY, cases
from tests.fuzz.household import RECIPES, Asked, Household, household
from tests.fuzz.mutations import Mutant, mutants
from tests.fuzz.originals import FORMATS, originals

SLOT_BACK_S = 1.0
"""Promised: how soon after a failure as many processes render as before."""
MOST_GROWTH = 50 * 2**20
OF_PICTURES = {
    FailureCode.CONTENT_TRUNCATED,
    FailureCode.DECODE_FAILED,
    FailureCode.TOO_MANY_PIXELS,
    FailureCode.MEMORY_EXCEEDED,
    FailureCode.RENDER_TIMEOUT,
    FailureCode.RENDER_CRASHED,
    FailureCode.ENCODE_FAILED,
}


class Trial:
    """One household through all the cases."""

    def __init__(self, house: Household) -> None:
        self.house = house
        good = house.good_job()
        house.ask(good)
        self.expected = good.written()
        self.tried = 0
        self.memory = 0

    def of(self, data: bytes, format_: str, recipe: Recipe) -> dict[str, Any]:
        """Render damaged bytes between two good pictures, and judge what came of it."""
        damaged, *good = (self.house.job(data, format_, recipe), self.house.good_job(), self.house.good_job())
        answer = self.house.ask(damaged, *good)
        outcome, *others = answer["outcomes"]
        assert answer["complete_after_s"] < SLOT_BACK_S
        for neighbour, told in zip(good, others, strict=True):
            assert "sizes" in told, told
            assert neighbour.written() == self.expected
        judge(damaged, outcome, answer["notes"])
        for each in (damaged, *good):
            each.remove()
        self._count(outcome)
        return dict(outcome)

    def _count(self, outcome: dict[str, Any]) -> None:
        self.tried += 1
        TALLY[f"pictures: {outcome.get('code', 'rendered')}"] += 1
        if self.tried == 100:  # what is met for the first time has been loaded by then
            self.memory = self.house.memory_bytes


def judge(damaged: Asked, outcome: dict[str, Any], notes: list[str]) -> None:
    """It has ended in one of two ways: with whole renders, or with a failure of the content and no file."""
    if "sizes" in outcome:
        written = damaged.written()
        assert written.keys() == outcome["sizes"].keys()
        for name, content in written.items():
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                assert list(image.size) == outcome["sizes"][name]
    else:
        assert outcome.get("code") in OF_PICTURES, (outcome, notes)
        assert outcome["message"]
        assert damaged.written() == {}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with household(tmp_path_factory.mktemp("household")) as house:
        trial = Trial(house)
        yield trial
        # What it has written to standard error is known for sure when it has ended.
        assert house.leave() == ""


@pytest.mark.parametrize("format_", FORMATS)
def test_a_valid_picture_of_every_kind_is_rendered(format_: str, trial: Trial) -> None:
    for recipe in RECIPES:
        for name, data in originals(format_).items():
            assert "sizes" in trial.of(data, format_, Recipe.parse(recipe)), name


@pytest.mark.parametrize("format_", FORMATS)
def test_a_damaged_picture_ends_as_a_success_or_as_one_failure_and_harms_no_other(format_: str, trial: Trial) -> None:
    @cases(1000 // len(FORMATS))
    @given(mutant=mutants(format_), recipe=st.sampled_from(RECIPES))
    def judged(mutant: Mutant, recipe: dict[str, object]) -> None:
        trial.of(mutant.content(), format_, Recipe.parse(recipe))

    before = trial.tried
    judged()

    assert trial.tried - before >= CASES // len(FORMATS)
    assert trial.house.memory_bytes - trial.memory < MOST_GROWTH


def test_a_process_that_hangs_costs_its_picture_and_is_back_within_a_second(tmp_path: Path) -> None:
    with household(tmp_path, deadline_s=0.5) as house:
        house.freeze_a_child()
        answer = house.ask(*(house.good_job() for _ in range(4)))
        assert house.leave() == ""

    assert [each.get("code") for each in answer["outcomes"]].count("RENDER_TIMEOUT") == 1
    assert sum("sizes" in each for each in answer["outcomes"]) == 3
    assert answer["complete_after_s"] < SLOT_BACK_S


def test_a_process_that_is_killed_costs_its_picture_and_is_back_within_a_second(tmp_path: Path) -> None:
    with household(tmp_path) as house:
        pid = house.freeze_a_child()
        killer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
        killer.start()
        answer = house.ask(*(house.good_job() for _ in range(4)))
        killer.join()
        assert house.leave() == ""

    assert [each.get("code") for each in answer["outcomes"]].count("RENDER_CRASHED") == 1
    assert sum("sizes" in each for each in answer["outcomes"]) == 3
    assert answer["complete_after_s"] < SLOT_BACK_S


@pytest.mark.parametrize(
    "outcome",
    [
        {"code": "INTERNAL", "message": "An unforeseen error."},
        {"code": "STORE_FULL", "message": "The disk is full."},
        {"unforeseen": "KeyError()"},
        {"code": "DECODE_FAILED", "message": "Damaged."},
        {"sizes": {"a": [1, 1]}},
        {"sizes": {}},
    ],
)
def test_an_outcome_that_breaks_a_promise_is_noticed(outcome: dict[str, Any], tmp_path: Path) -> None:
    recipe = Recipe.parse(RECIPES[0])
    job = RenderJob("", 0, "jpeg", recipe, {"a": str(tmp_path / "a")})
    (tmp_path / "a").write_bytes(originals("jpeg")["baseline"])

    with pytest.raises(AssertionError):
        judge(Asked(job), outcome, [])
