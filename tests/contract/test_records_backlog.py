"""What wants work now, by stage: counted from the rows, at a bounded cost."""

from __future__ import annotations

import pytest

from imagemill.domain.batches import BatchState
from imagemill.domain.items import Facts, Head, State
from imagemill.ports.records import Backlog, Records
from tests.support.builders import claim_rows, move, new_batch, new_items, original, put_batch

NOW = 100.0
STORED = Facts(original=original(key="batches/b/originals/x"))


async def test_due_items_wait_for_a_download_or_if_stored_for_a_processor(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(5)))
    async with records.write() as unit:
        await unit.move_items([move(0, Head(State.PENDING, 1), 10, due_at=NOW, facts=STORED)])
        await unit.move_items([move(1, Head(State.PENDING, 1), 11, due_at=NOW + 1)])
        await unit.move_items([move(2, Head(State.SUCCEEDED, 0, 1), 12)])

    assert await records.backlog(NOW, 100) == Backlog(to_download=2, to_render=1)


async def test_what_is_in_flight_is_with_the_stage_that_its_state_and_its_original_say(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(5)))
    async with records.write() as unit:
        await unit.move_items([move(4, Head(State.PENDING, 1), 10, facts=STORED)])
    await claim_rows(records, range(5))
    async with records.write() as unit:
        for index, state in ((1, State.DOWNLOADING), (2, State.DOWNLOADED), (3, State.PROCESSING)):
            await unit.move_items([move(index, Head(state, 0, 1), 20 + index)])

    assert await records.backlog(NOW, 100) == Backlog(downloading=2, rendering=3)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (BatchState.ACTIVE, Backlog(to_download=2, downloading=1)),
        (BatchState.PAUSED, Backlog(downloading=1)),
        (BatchState.CANCELLING, Backlog()),
    ],
    ids=str,
)
async def test_only_what_is_worked_on_counts(records: Records, state: BatchState, expected: Backlog) -> None:
    await put_batch(records, new_batch(state=state), new_items(range(3)))
    await claim_rows(records, [0])

    assert await records.backlog(NOW, 100) == expected


async def test_a_batch_that_is_still_received_does_not_count(records: Records) -> None:
    async with records.write() as unit:
        await unit.insert_batch(new_batch())
        await unit.insert_items("b", new_items(range(3)), 1, NOW)

    assert await records.backlog(NOW, 100) == Backlog()


async def test_all_batches_count_up_to_the_limit(records: Records) -> None:
    await put_batch(records, new_batch("a"), new_items(range(3)))
    await put_batch(records, new_batch("b"), new_items(range(3)))

    assert await records.backlog(NOW, 100) == Backlog(to_download=6)
    assert await records.backlog(NOW, 4) == Backlog(to_download=4)
