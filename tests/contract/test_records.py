"""The promises of `imagemill.ports.records`, by their numbers."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from imagemill.domain.batches import BatchState
from imagemill.domain.failures import Failure, FailureCode
from imagemill.domain.figures import HostFigures
from imagemill.domain.items import Facts, Head, State
from imagemill.ports.records import Claim, Move, NewItem, Records
from tests.support.builders import (
    BROKEN,
    FAR_OFF,
    GONE,
    batch_of,
    digest,
    move,
    new_batch,
    new_items,
    original,
    put_batch,
    rows_of,
    success,
)


async def test_r1_the_writes_of_a_unit_become_visible_together(records: Records) -> None:
    async with records.write() as unit:
        await unit.insert_batch(new_batch())
        await unit.insert_items("b", new_items(range(3)), 1, 0.0)
        assert await records.batch("b") is None
        assert await rows_of(records) == []

    assert (await batch_of(records)).state is BatchState.RECEIVING
    assert [row.index for row in await rows_of(records)] == [0, 1, 2]


async def test_r1_a_unit_that_ends_with_an_error_has_written_nothing(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    before = await rows_of(records)

    async def write_and_fail() -> None:
        async with records.write() as unit:
            (batch,) = (await unit.batches(["b"])).values()
            await unit.move_items([move(0, Head(State.FAILED, 0), 99, facts=Facts(GONE))])
            batch.revision = 99
            await unit.save_batch(batch)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_and_fail()

    assert await rows_of(records) == before
    assert (await batch_of(records)).revision == 3


async def test_r6_a_unit_whose_caller_is_cancelled_has_written_nothing_and_blocks_nobody(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(1)))
    inside = asyncio.Event()

    async def write_and_wait() -> None:
        async with records.write() as unit:
            await unit.move_items([move(0, Head(State.FAILED, 0), 99)])
            inside.set()
            await asyncio.Event().wait()

    writing = asyncio.create_task(write_and_wait())
    await inside.wait()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    async with records.write() as unit:
        assert await unit.heads("b", [0]) == {0: Head(State.PENDING, 0)}


@pytest.mark.parametrize("seed", range(3))
async def test_r6_whenever_a_caller_is_cancelled_the_next_unit_goes_on_at_once(records: Records, seed: int) -> None:
    await put_batch(records, new_batch(), new_items(range(1)))
    chance, finished = random.Random(seed), 0

    async def count_up() -> None:
        async with records.write() as unit:
            (batch,) = (await unit.batches(["b"])).values()
            batch.revision += 1
            await unit.save_batch(batch)

    for _ in range(25):
        counting = [asyncio.create_task(count_up()) for _ in range(3)]
        # A random number of turns of the loop is a random moment in the life of a unit.
        for _ in range(chance.randrange(30)):
            await asyncio.sleep(0)
        counting[chance.randrange(3)].cancel()
        async with asyncio.timeout(5.0):
            outcomes = await asyncio.gather(*counting, return_exceptions=True)
        finished += sum(outcome is None for outcome in outcomes)

    # One that was cancelled while it committed may count or not; every other one counts once.
    assert finished <= (await batch_of(records)).revision - 2 <= 3 * 25
    assert finished >= 2 * 25


async def test_r2_units_on_the_same_batch_follow_one_another(records: Records) -> None:
    await put_batch(records, new_batch(), [])

    async def add_one() -> None:
        async with records.write() as unit:
            (batch,) = (await unit.batches(["b"])).values()
            revision = batch.revision
            await asyncio.sleep(0)
            batch.revision = revision + 1
            await unit.save_batch(batch)

    await asyncio.gather(*(add_one() for _ in range(30)))

    assert (await batch_of(records)).revision == 31


async def test_r2_a_reader_is_never_kept_waiting_by_a_writer(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    async with records.write() as unit, asyncio.timeout(5.0):
        await unit.batches(["b"])

        assert len(await rows_of(records)) == 2


async def test_r2_everything_of_a_batch_comes_back_as_it_was_written(records: Records) -> None:
    batch = new_batch(client_id="c", request_id="r", priority=7, created_at=5.25)
    batch.display_name, batch.labels, batch.keep_originals = "Ein Stapel ☂", {"input": "urls.txt"}, True
    batch.counts.add(State.SUCCEEDED, 3)
    batch.downloaded_bytes, batch.duplicates, batch.active_s = 1 << 40, 2, 1.5
    batch.started_at, batch.finished_at, batch.changed_at = 6.0, 7.0, 8.0
    async with records.write() as unit:
        await unit.insert_batch(batch)
        found = await unit.batch_of_request("r")
        nothing = await unit.batch_of_request("another")

    read = await batch_of(records)
    assert dict(read.counts) == dict(batch.counts)
    read.counts = batch.counts
    assert read == batch
    assert found is not None
    assert found.id == "b"
    assert nothing is None


async def test_r2_the_batches_with_work_left_come_oldest_first(records: Records) -> None:
    for number, state in enumerate(BatchState):
        batch = new_batch(f"b{number}", created_at=-number)
        batch.state = state
        async with records.write() as unit:
            await unit.insert_batch(batch)

    async with records.write() as unit:
        working = await unit.working_batches()

    assert [batch.state for batch in working] == [BatchState.CANCELLING, BatchState.PAUSED, BatchState.ACTIVE]


async def test_r3_inserting_what_exists_changes_nothing_and_says_so(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([0, 1]))
    before = await rows_of(records)
    async with records.write() as unit:
        other = [NewItem(index, "http://other.test/", 9, "other.test", State.FAILED, GONE) for index in (0, 1, 2)]

        assert await unit.insert_items("b", other, 3, 0.0) == {2}
        assert await unit.insert_items("b", other, 4, 0.0) == set()

    rows = await rows_of(records)
    assert rows[:2] == before
    assert (rows[2].revision, rows[2].facts.failure) == (4, Failure(GONE.code, GONE.message))


async def test_r4_new_items_are_numbered_above_the_revision_given(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([5, 3, 4]))

    assert sorted(row.revision for row in await rows_of(records)) == [2, 3, 4]


async def test_r4_every_kind_of_change_carries_its_revision(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    async with records.write() as unit:
        await unit.claim(Claim("t", "e", FAR_OFF), "b", [(0, Head(State.QUEUED, 0, 1), 10)], 0.0)
        await unit.move_items([move(1, Head(State.SUCCEEDED, 0), 11, facts=success()), move(2, Head(State(4), 0), 12)])
        await unit.point_duplicates("b", [(3, 1, 13)])

    changed = await records.changed_items("b", 9, 100, 100)
    assert [(row.index, row.revision) for row in changed] == [(0, 10), (1, 11), (2, 12), (3, 13)]
    assert changed[3].duplicate_of == 1


async def test_r4_items_changed_since_a_revision_come_by_revision_within_the_bounds(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(10)))
    async with records.write() as unit:
        await unit.move_items([move(3, Head(State.FAILED, 0), 12, facts=Facts(GONE))])

    every = await records.changed_items("b", 0, 100, 100)
    assert [row.index for row in every] == [0, 1, 2, 4, 5, 6, 7, 8, 9, 3]
    assert [row.revision for row in await records.changed_items("b", 5, 8, 100)] == [6, 7, 8]
    assert [row.revision for row in await records.changed_items("b", 5, 100, 2)] == [6, 7]
    assert [row.index for row in await records.changed_items("b", 0, 100, 100, [State.FAILED])] == [3]


async def test_r4_facts_are_stored_as_one_block(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    for head, facts in (
        (Head(State.PENDING, 0), Facts(failure=replace(BROKEN, tries=3))),
        (Head(State.PENDING, 1), Facts(failure=BROKEN, original=original(1, key="k"))),
        (Head(State.SUCCEEDED, 1), success(2)),
    ):
        async with records.write() as unit:
            await unit.move_items([move(0, head, 10, facts=facts)])

        (row,) = await rows_of(records)
        assert (row.head, row.facts) == (head, facts)


async def test_r4_a_move_without_facts_leaves_those_that_are_stored(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    facts = Facts(original=original(1, key="k"))
    async with records.write() as unit:
        await unit.move_items([move(0, Head(State.DOWNLOADED, 0), 10, facts=facts)])
        await unit.move_items([move(0, Head(State.PROCESSING, 0), 11)])

    (row,) = await rows_of(records)
    assert row.facts == facts


async def test_r7_pages_of_items_neither_repeat_nor_leave_out_what_did_not_change(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(25)))
    seen: list[int] = []
    while page := await records.items("b", seen[-1] if seen else -1, 4):
        seen += [row.index for row in page]
        async with records.write() as unit:
            await unit.move_items([move(24, Head(State.QUEUED, 0), 100 + len(seen))])
            await unit.insert_items("b", new_items([100 + len(seen)]), 200, 0.0)
        if len(seen) > 25:
            break

    assert seen[:25] == list(range(25))


async def test_r7_pages_of_batches_come_newest_first_even_at_equal_times(records: Records) -> None:
    for number in range(9):
        await put_batch(records, new_batch(f"b{number}", created_at=number // 3, client_id="ab"[number % 2]), [])
    seen: list[str] = []
    before = None
    while page := await records.batches("", before, 2):
        seen += [batch.id for batch in page]
        before = (page[-1].created_at, page[-1].id)

    assert seen == [f"b{number}" for number in reversed(range(9))]
    assert [batch.id for batch in await records.batches("b", None, 10)] == ["b7", "b5", "b3", "b1"]


async def test_r7_items_are_filtered_by_state_and_by_code(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    async with records.write() as unit:
        await unit.move_items(
            [
                move(0, Head(State.FAILED, 0), 10, facts=Facts(GONE)),
                move(1, Head(State.FAILED, 0), 11, facts=Facts(BROKEN)),
                move(2, Head(State.SUCCEEDED, 0), 12, facts=success()),
                # It waits for another attempt: it has not failed yet.
                move(3, Head(State.PENDING, 1), 13, facts=Facts(GONE)),
            ]
        )

    failed = await records.items("b", -1, 10, [State.FAILED])
    gone = await records.items("b", -1, 10, [], [GONE.code.value])
    several = await records.items("b", -1, 10, [State.SUCCEEDED, State.PENDING])
    assert [[row.index for row in found] for found in (failed, gone, several)] == [[0, 1], [0], [2, 3]]


async def test_r7_the_first_succeeded_twin_is_found(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    done = Head(State.SUCCEEDED, 0)
    async with records.write() as unit:
        await unit.move_items([move(index, done, 10 + index, facts=success(7)) for index in (3, 1)])
        await unit.move_items([move(0, Head(State.FAILED, 0), 20, facts=Facts(GONE, original(7)))])
        twins = await unit.twins("b", {digest(7), digest(8)})

    twin = await records.twin("b", digest(7))
    assert twin is not None
    assert twin.index == 1
    assert await records.twin("b", digest(8)) is None
    assert [(each.index, each.sha256, each.duplicate_of) for each in twins] == [
        (1, digest(7), None),
        (3, digest(7), None),
    ]


async def test_r8_a_tally_adds_up_the_final_rows(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(106)))
    async with records.write() as unit:
        await unit.move_items([_took(index, milliseconds=index + 1.0) for index in range(100)])
        await unit.point_duplicates("b", [(7, 3, 150)])
        for index, failure in ((100, GONE), (101, BROKEN), (102, GONE)):
            await unit.move_items([move(index, Head(State.FAILED, 0), 200 + index, facts=Facts(failure))])

    tally = await records.tally("b")

    assert tally is not None
    assert tally.batch.id == "b"
    figures = tally.items
    assert figures.errors == {GONE.code: 2, FailureCode.CONTENT_TRUNCATED: 1}
    assert figures.http_statuses == {200: 101, 404: 2}
    assert figures.formats == {"jpeg": 100}
    assert (figures.succeeded, figures.attempts_of_succeeded, figures.retries) == (100, 150, 50)
    assert figures.quick_retries == 100 * 2
    assert figures.downloaded_bytes == sum(1000 + index for index in range(100))
    assert figures.rendered_bytes == 100 * 9000
    assert (figures.duplicates, figures.duplicate_bytes, figures.saved_bytes) == (1, 1007, 9000)
    assert figures.cpu_ms == 100 * 2.5
    downloads = figures.durations["download"]
    assert (downloads.count, downloads.mean, downloads.largest) == (100, 50.5, 100.0)
    assert downloads.percentile(50) == pytest.approx(50.0, rel=0.01)
    assert figures.durations["decode"].count == 0


async def test_r8_a_tally_names_the_hosts_that_stand_out(records: Records) -> None:
    hosts = {0: "a.test", 1: "a.test", 2: "b.test", 3: "c.test", 4: "", 5: "d.test"}
    items = [NewItem(index, "http://x/", index, host, State.PENDING) for index, host in hosts.items()]
    await put_batch(records, new_batch(), items)
    async with records.write() as unit:
        await unit.move_items([_took(index, milliseconds=ms) for index, ms in ((0, 10.0), (1, 30.0), (2, 500.0))])
        await unit.move_items([move(index, Head(State.FAILED, 0), 50 + index, facts=Facts(GONE)) for index in (3, 4)])

    tally = await records.tally("b")

    assert tally is not None
    slow, slower = HostFigures("a.test", 2, 0, 2001, 20.0), HostFigures("b.test", 1, 0, 1002, 500.0)
    assert tally.hosts.total == 3
    assert tally.hosts.slowest == [slower, slow]
    assert tally.hosts.failing == [HostFigures("c.test", 1, 1, 0, 0.0)]


async def test_r8_a_tally_of_nothing_is_empty(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    tally = await records.tally("b")

    assert tally is not None
    assert (tally.items.attempts, tally.items.errors, tally.hosts.total) == (0, {}, 0)
    assert tally.items.durations["download"].percentile(50) == 0.0
    assert await records.tally("another") is None


async def test_r8_a_tally_is_of_one_moment_whatever_is_written_meanwhile(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(3_000)))
    at_work = asyncio.Event()

    async def finish_items() -> None:
        for index in range(3_000):
            async with records.write() as unit:
                (batch,) = (await unit.batches(["b"])).values()
                await unit.move_items([_took(index, milliseconds=1.0)])
                batch.counts.move(State.PENDING, State.SUCCEEDED)
                await unit.save_batch(batch)
            at_work.set()

    writing = asyncio.create_task(finish_items())
    await at_work.wait()
    seen = set()
    for _ in range(10):
        tally = await records.tally("b")
        assert tally is not None
        assert tally.items.succeeded == tally.batch.counts[State.SUCCEEDED]
        seen.add(tally.items.succeeded)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    assert len(seen) > 1


async def test_r8_a_tally_whose_caller_is_cancelled_blocks_nobody(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(100)))
    for turns in range(10):
        tallying = asyncio.create_task(records.tally("b"))
        for _ in range(turns):
            await asyncio.sleep(0)
        tallying.cancel()
        await asyncio.gather(tallying, return_exceptions=True)

    async with asyncio.timeout(5.0):
        assert await records.tally("b") is not None


def _took(index: int, milliseconds: float) -> Move:
    facts = success(index)
    assert facts.timings is not None
    timings = type(facts.timings)(download_ms=milliseconds, cpu_ms=2.5)
    return move(
        index, Head(State.SUCCEEDED, index % 2), 10 + index, facts=Facts(None, facts.original, facts.renders, timings)
    )
