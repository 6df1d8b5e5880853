"""The report's figures are those of the rows."""

from __future__ import annotations

import pytest

from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.items import Facts, State
from storage_svc.fold import fold
from storage_svc.report import make_report
from tests.support.builders import BROKEN, batch_of, claim_rows, event, new_batch, new_items, put_batch, success


async def test_a_report_adds_up(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), [*new_items(range(6)), *new_items([6], State.SKIPPED)])
    async with records.write() as unit:
        (batch,) = (await unit.batches(["b"])).values()
        batch.started_at = batch.changed_at = 10.0
        await unit.save_batch(batch)
    await claim_rows(records, range(6))
    told = [event(index, State.SUCCEEDED, facts=success(1)) for index in (0, 1, 2)]
    told += [event(3, State.FAILED), event(4, State.FAILED, facts=Facts(BROKEN))]
    await fold(records, [*told, event(5, State.FAILED)], 14.0)

    report = await make_report(records, await batch_of(records), 20.0)

    assert report.success_rate == pytest.approx(0.5)
    assert [(each.code, each.count) for each in report.errors] == [("SOURCE_NOT_FOUND", 2), ("CONTENT_TRUNCATED", 1)]
    assert report.duplicates == 2
    assert report.items_per_second == pytest.approx(7 / 4)
    assert report.bytes_per_second == pytest.approx(3 * 1001 / 4)
    assert report.attempts_per_success == 1.0
    assert dict(report.formats) == {"jpeg": 3}
    assert report.create_time.seconds == 20
    assert report.active_duration.seconds == 4
    assert report.durations_ms["download"].p50 == 1.0
    assert report.durations_ms["store"].max == 5.0


async def test_a_report_on_nothing_yet_claims_nothing(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items([0]))

    report = await make_report(records, await batch_of(records), 20.0)

    assert not report.HasField("success_rate")
    assert (report.items_per_second, report.bytes_per_second, len(report.durations_ms)) == (0.0, 0.0, 0)
