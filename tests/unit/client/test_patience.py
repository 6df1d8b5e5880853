"""Tries are spaced, bounded, and counted from when the mill was found away."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import grpc
import pytest

from imagemill.client import MillError, MillUnreachable, patience
from imagemill.client.patience import Patience

AWAY = MillUnreachable("nowhere")


class Clock:
    """Time that passes only by waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(patience, "asyncio", SimpleNamespace(sleep=self.sleep))

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def until_it_ends(patient: Patience) -> None:
    with suppress(MillUnreachable):
        while True:
            await patient.wait_after(AWAY)


async def test_pauses_grow_with_jitter_and_end_with_the_limit(clock: Clock) -> None:
    await until_it_ends(Patience(20.0))

    assert sum(clock.pauses) == pytest.approx(20.0)
    nominal = [min(0.1 * 2**n, 2.0) for n in range(len(clock.pauses))]
    assert all(full / 2 <= pause <= full for pause, full in zip(clock.pauses[:-1], nominal, strict=False))
    assert len(set(clock.pauses[5:-1])) > 1


async def test_what_was_heard_before_the_mill_went_away_is_no_part_of_its_absence(clock: Clock) -> None:
    patient = Patience(5.0)
    patient.heard()
    clock.now += 3600  # the reader had much to do

    await until_it_ends(patient)

    assert sum(clock.pauses) == pytest.approx(5.0)


async def test_an_answer_gives_all_the_patience_back(clock: Clock) -> None:
    patient = Patience(5.0)
    for _ in range(4):
        await patient.wait_after(AWAY)
    patient.heard()
    clock.pauses.clear()

    await until_it_ends(patient)

    assert clock.pauses[0] <= 0.1
    assert sum(clock.pauses) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("limit_s", "error"), [(0.0, AWAY), (1e9, MillError("INTERNAL", "No.", status=grpc.StatusCode.INTERNAL))]
)
async def test_without_patience_or_hope_there_is_no_pause(clock: Clock, limit_s: float, error: MillError) -> None:
    with pytest.raises(MillError) as raised:
        await Patience(limit_s).wait_after(error)

    assert raised.value is error
    assert clock.pauses == []
