"""The published figures are those of the committed records, and the records are of runs worth publishing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.journal import Journal, read
from tests.faults.judging import MUST_BE_NONE
from tests.faults.table import DOCUMENT, computed, records, with_tables

LEAST = {"gateway": 40, "downloader": 40, "processor": 40, "storage": 40, "rabbitmq": 20, "postgresql": 10}


def test_the_tables_are_computed_from_the_records() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")

    assert with_tables(text, records()) == text, "run make faults-table"


def test_every_record_is_of_a_whole_run_that_lost_nothing() -> None:
    for record in records():
        assert record.verdict["clean"]
        assert [name for name in MUST_BE_NONE if record.verdict[name]] == []
        assert record.run["items"] >= 10_000
        deaths = {target: sum(kill["target"] == target for kill in record.kills) for target in LEAST}
        assert all(deaths[target] >= least for target, least in LEAST.items()), deaths
        assert {kill["wait_status"] for kill in record.kills} == {"SIGKILL"}


def test_control_a_record_shows_in_the_tables_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "seed-9.jsonl"
    journal = Journal(path, seed=9, items=1234, rabbitmq="3.10.8", postgresql="15.18")
    journal.write("kill", target="gateway", pid=1, wait_status="SIGKILL", point="jobs-published")
    journal.write("kill", target="rabbitmq", pid=2, wait_status="SIGKILL")
    journal.write("fault", target="RabbitMQ", what="wiped")
    figures = dict.fromkeys(MUST_BE_NONE, 0) | {"lost": 5, "repeats": 7, "succeeded": 1200, "failed": 29}
    journal.write("verdict", **figures)
    journal.close()

    lines = computed([read(path)]).splitlines()

    assert "| 9 | 1,234 | 1 | 0 | 0 | 0 | 1 | 0 | 1 | 0.0 |" in lines
    assert "| 9 | 1,200 / 29 | 5 | 0 | 0 | 0 | 0 | 0 | 0 | 7 |" in lines
    assert "Other faults, of all runs: RabbitMQ wiped (in all 1)." in lines


def test_control_a_record_without_its_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "torn.jsonl"
    path.write_text(json.dumps({"kind": "run", "seed": 1}) + "\n", encoding="utf-8")

    with pytest.raises(ValueError, match=r"torn\.jsonl"):
        read(path)
