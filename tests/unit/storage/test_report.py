"""The report's figures are those of the rows, of the counters and of the manifest."""

from __future__ import annotations

import random

import pytest

from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.items import Facts, ItemEvent, ItemRow, Original, Render, State, Timings
from imagemill.ports.records import NewItem
from imagemill.v1 import batch_service_pb2 as api
from storage_svc import control
from storage_svc.fold import fold
from storage_svc.report import make_report
from tests.support.builders import (
    BROKEN,
    GONE,
    assert_counters_equal_rows,
    batch_of,
    claim_rows,
    digest,
    event,
    new_batch,
    new_items,
    put_batch,
    rows_of,
    success,
)


async def report_on(records: SqliteRecords) -> api.BatchReport:
    tally = await records.tally("b")
    assert tally is not None
    return make_report(tally, 20.0)


async def begin(records: SqliteRecords, now: float) -> None:
    """Have the batch's clock run from `now` on."""
    async with records.write() as unit:
        (batch,) = (await unit.batches(["b"])).values()
        batch.started_at = batch.changed_at = now
        await unit.save_batch(batch)


async def test_a_report_adds_up(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), [*new_items(range(6)), *new_items([6], State.SKIPPED)])
    await begin(records, 10.0)
    await claim_rows(records, range(6))
    told = [event(index, State.SUCCEEDED, facts=success(1)) for index in (0, 1, 2)]
    told += [event(3, State.FAILED), event(4, State.FAILED, facts=Facts(BROKEN))]
    await fold(records, [*told, event(5, State.FAILED)], 14.0)

    report = await report_on(records)

    assert report.success_rate == pytest.approx(0.5)
    assert [(each.code, each.count, each.family) for each in report.errors] == [
        ("SOURCE_NOT_FOUND", 2, "server"),
        ("CONTENT_TRUNCATED", 1, "content"),
    ]
    assert dict(report.error_families) == {"server": 2, "content": 1}
    assert dict(report.http_statuses) == {200: 4, 404: 2}
    assert report.duplicates == 2
    assert report.items_per_second == pytest.approx(7 / 4)
    assert report.bytes_per_second == pytest.approx(3 * 1001 / 4)
    assert report.attempts_per_success == 1.0
    assert report.tries == api.Tries(attempts=6, retries=0, quick_retries=6)
    assert report.traffic == api.Traffic(
        downloaded_bytes=3003, duplicate_bytes=2002, rendered_bytes=27_000, saved_bytes=18_000,
        rendered_ratio=27_000 / 3003,
    )  # fmt: skip
    assert dict(report.formats) == {"jpeg": 3}
    assert report.create_time.seconds == 20
    assert report.active_duration.seconds == 4


async def test_a_report_tells_how_times_and_sizes_are_spread(records: SqliteRecords) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, range(2))
    twin = Facts(success(1).failure, success(1).original, success(1).renders, Timings(download_ms=3.0))
    await fold(records, [event(0, State.SUCCEEDED, facts=success(1)), event(1, State.SUCCEEDED, facts=twin)], 14.0)

    report = await report_on(records)

    download = report.durations_ms["download"]
    assert (download.count, download.mean, download.p95, download.max) == (2, 2.0, 3.0, 3.0)
    assert download.p50 == pytest.approx(1.0, rel=0.01)
    # The second was not rendered: it counts in no figure of rendering.
    assert report.durations_ms["store"] == api.Percentiles(p50=5, p90=5, p95=5, p99=5, max=5, mean=5, count=1)
    assert report.render_cpu_seconds == pytest.approx(0.006)
    sizes = report.originals
    assert sizes.bytes[0] == api.Bucket(at_least=0, below=10_000, count=2)
    assert sizes.megapixels[0].count == sizes.longest_side[0].count == 2
    assert not sizes.bytes[-1].HasField("below")


async def test_a_report_names_the_hosts_that_fail_and_sums_up_the_others(records: SqliteRecords) -> None:
    hosts = [f"h{number}.test" for number in range(12) for _ in range(number + 1)]
    items = [NewItem(index, "http://x/", index, host, State.FAILED, GONE) for index, host in enumerate(hosts)]
    items.append(NewItem(len(items), "rubbish", 0, "", State.FAILED, GONE))
    await put_batch(records, new_batch(), items)

    report = await report_on(records)

    assert report.hosts.total == 12
    assert [(each.host, each.failed) for each in report.hosts.failing[:2]] == [("h11.test", 12), ("h10.test", 11)]
    assert len(report.hosts.failing) == 10
    assert report.hosts.failed_elsewhere == 1 + 2 + 1
    assert not report.hosts.slowest


@pytest.mark.parametrize(
    ("states", "rate"),
    [([], None), ([State.PENDING], None), ([State.SKIPPED] * 3, None), ([State.FAILED] * 3, 0.0)],
    ids=["no items", "running", "all skipped", "all failed"],
)
async def test_a_report_on_little_divides_nothing_by_nothing(
    records: SqliteRecords, states: list[State], rate: float | None
) -> None:
    failed = (GONE if state is State.FAILED else None for state in states)
    items = [NewItem(n, "http://x/", n, "x", *pair) for n, pair in enumerate(zip(states, failed, strict=True))]
    await put_batch(records, new_batch(), items)

    report = await report_on(records)

    assert (report.success_rate if report.HasField("success_rate") else None) == rate
    assert (report.items_per_second, report.bytes_per_second, report.attempts_per_success) == (0.0, 0.0, 0.0)
    assert (len(report.durations_ms), report.tries.attempts) == (0, 0)
    assert not report.traffic.HasField("rendered_ratio")


@pytest.mark.parametrize("seed", range(6))
async def test_after_any_life_of_a_batch_the_report_is_what_counters_and_rows_say(
    records: SqliteRecords, seed: int
) -> None:
    chance = random.Random(seed)
    await put_batch(records, new_batch(), _any_items(chance))
    await begin(records, 0.0)
    for now in range(1, 13):
        waiting = [row.index for row in await rows_of(records) if row.head.state is State.PENDING]
        if waiting:
            await claim_rows(records, chance.sample(waiting, min(len(waiting), 9)), token=f"t{now}")
        happened = [_any_event(chance, row) for row in await rows_of(records) if row.head.state.is_in_flight]
        await fold(records, chance.sample(happened, len(happened)) + happened[:2], float(now))
        if chance.random() < 0.2:
            await control.retry_failed(records, "b", [], float(now))
        await _assert_report_equals_rows(records)
    if seed % 2:
        await control.set_state(records, "b", BatchState.CANCELLING, 20.0)
        await control.sweep_cancelled(records, 21.0)
    await _assert_report_equals_rows(records)


def _any_items(chance: random.Random) -> list[NewItem]:
    items = []
    for index in range(40):
        state = chance.choices([State.PENDING, State.SKIPPED, State.FAILED], [10, 1, 1])[0]
        host = chance.choice(["a.test", "b.test", "c.test", ""])
        items.append(NewItem(index, "http://x/", index, host, state, GONE if state is State.FAILED else None))
    return items


def _any_event(chance: random.Random, row: ItemRow) -> ItemEvent:
    state = chance.choice([State.DOWNLOADED, State.SUCCEEDED, State.SUCCEEDED, State.FAILED, State.PENDING])
    content = chance.randrange(12)
    original = Original(
        digest(content), 1000 * (content + 1), chance.choice(["jpeg", "png"]), 200, width=content * 90, height=300,
        tries=chance.randint(1, 3),
    )  # fmt: skip
    renders = tuple(Render(f"v{n}", f"{content}/{n}", "jpeg", 9, 9, 100 + content) for n in range(2))
    timings = Timings(chance.uniform(0.1, 9e3), *(chance.choice([0.0, chance.uniform(0.1, 90)]) for _ in range(5)))
    failure = chance.choice([GONE, BROKEN]) if state in (State.FAILED, State.PENDING) else None
    known = original if failure is None or chance.random() < 0.5 else None
    facts = Facts(failure, known, renders if state is State.SUCCEEDED else (), timings)
    return ItemEvent("b", row.index, row.head.attempt, state, facts)


async def _assert_report_equals_rows(records: SqliteRecords) -> None:
    await assert_counters_equal_rows(records)
    report, batch = await report_on(records), await batch_of(records)
    final = [row for row in await rows_of(records) if row.head.state.is_final]
    done = [row for row in final if row.head.state is State.SUCCEEDED]
    failed = batch.counts[State.FAILED]
    assert sum(each.count for each in report.errors) == sum(report.error_families.values()) == failed
    assert sum(each.failed for each in report.hosts.failing) + report.hosts.failed_elsewhere == failed
    assert sum(report.formats.values()) == len(done) == batch.counts[State.SUCCEEDED]
    for buckets in (report.originals.bytes, report.originals.megapixels, report.originals.longest_side):
        assert sum(each.count for each in buckets) == len(done)
    assert report.duplicates == batch.duplicates
    assert report.traffic.downloaded_bytes == batch.downloaded_bytes
    pictures = [(sum(render.size_bytes for render in row.facts.renders), row.duplicate_of) for row in done]
    assert report.traffic.rendered_bytes == sum(size for size, _ in pictures)
    assert report.traffic.saved_bytes == sum(size for size, twin in pictures if twin is not None)
    assert report.tries.attempts == sum(row.head.attempt + (1 if row.head.claims else 0) for row in final)
    assert sum(report.http_statuses.values()) == sum(_has_status(row) for row in final)
    for name, spread in report.durations_ms.items():
        times = [value for row in done if (value := getattr(row.facts.timings, f"{name}_ms"))]
        assert (spread.count, spread.max) == (len(times), max(times))
        assert spread.mean == pytest.approx(sum(times) / len(times))


def _has_status(row: ItemRow) -> bool:
    failure, original = row.facts.failure, row.facts.original
    return bool((failure and failure.http_status) or (original and original.http_status))
