"""Two of each service, the broker and the database, killed at random in the middle of a batch, and all else beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.journal import read
from tests.faults.judging import MUST_BE_NONE
from tests.faults.plan import Plan
from tests.faults.running import run

PLAN = Plan(seed=4, items=1000, seconds=40.0, each_service=5, broker=2, database=2, others=False)


@pytest.mark.timeout(400)
def test_nothing_is_lost_and_nothing_counted_twice_whatever_dies(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    verdict = run(PLAN, tmp_path_factory.mktemp("ground"), tmp_path / "record.jsonl")

    assert {name: verdict[name] for name in MUST_BE_NONE if verdict[name]} == {}
    assert verdict["succeeded"] + verdict["failed"] == PLAN.items
    record = read(tmp_path / "record.jsonl")
    assert len(record.kills) >= 20
    assert {kill["target"] for kill in record.kills} == {*verdict["kills"]}
    assert {"rabbitmq", "postgresql", "gateway", "storage", "downloader", "processor"} == {*verdict["kills"]}
    assert verdict["left_at_last_fault"] > 0
