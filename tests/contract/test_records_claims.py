"""The promise R5 of `imagemill.ports.records`: what is due, and what a claim holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagemill.domain.items import Facts, Head, State
from imagemill.ports.records import Records
from tests.support.builders import (
    FAR_OFF,
    claim_rows,
    move,
    new_batch,
    new_items,
    original,
    put_batch,
    success,
)


async def test_r5_due_items_come_by_due_time_then_index(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(5)))
    async with records.write() as unit:
        for index, due_at in ((0, 30.0), (1, 20.0), (3, 99.0)):
            await unit.move_items([move(index, Head(State.PENDING, 1), 10 + index, due_at=due_at)])

        due = await unit.due_items("b", 50.0, 10, in_flight=False)
        assert [item.index for item in due] == [2, 4, 1, 0]
        assert [item.index for item in await unit.due_items("b", 50.0, 2, in_flight=False)] == [2, 4]
        assert due[2].head == Head(State.PENDING, 1)
        assert due[2].source == "http://pictures.test/1.jpg"


async def test_r5_hosts_of_due_items_come_in_the_same_order_from_behind_a_place_on(records: Records) -> None:
    await put_batch(records, new_batch(), [*new_items(range(3), host="a.test"), *new_items([3], host="b.test")])
    await claim_rows(records, [1])
    async with records.write() as unit:
        for index, due_at in ((0, 30.0), (2, 99.0)):
            await unit.move_items([move(index, Head(State.PENDING, 1), 10 + index, due_at=due_at)])

        found = await unit.due_hosts("b", 50.0, (-1.0, -1), 10)
        assert found == [((0.0, 3), "b.test"), ((30.0, 0), "a.test")]
        assert await unit.due_hosts("b", 50.0, (0.0, 2), 1) == found[:1]
        assert await unit.due_hosts("b", 50.0, (0.0, 3), 10) == found[1:]
        assert await unit.due_hosts("b", 50.0, (30.0, 0), 10) == []
        assert [place for place, _ in await unit.due_hosts("b", 99.0, (30.0, 0), 10)] == [(99.0, 2)]


async def test_r5_items_are_found_by_index_if_they_wait_and_are_due(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(5)))
    await claim_rows(records, [1])
    async with records.write() as unit:
        await unit.move_items([move(3, Head(State.PENDING, 1), 13, due_at=99.0)])

        (item,) = await unit.due_items_of("b", [4, 3, 1, 9], 50.0)
        assert (item.index, item.host, item.due_at) == (4, "pictures.test", 0.0)
        assert item.source == "http://pictures.test/4.jpg"


async def test_r5_hosts_are_told_with_what_they_have_been_asked_for(records: Records) -> None:
    of_a, of_b = new_items(range(4), host="a.test"), new_items(range(4, 8), host="b.test")
    await put_batch(records, new_batch(), [*of_a, *of_b, *new_items([8], host="c.test")])
    await claim_rows(records, [0, 1, 2, 4, 5])
    async with records.write() as unit:
        await unit.move_items([move(1, Head(State.DOWNLOADING, 0, 1), 10), move(2, Head(State.PROCESSING, 0, 1), 11)])
        await unit.move_items([move(4, Head(State.SUCCEEDED, 0, 1), 12, facts=success())])

        assert await unit.asked_hosts("b") == {"a.test": 2, "b.test": 1}


async def test_r5_an_item_that_a_claim_holds_is_not_due_until_its_lease_ends(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, [0], lease_until=100.0)

    async with records.write() as unit:
        assert [item.index for item in await unit.due_items("b", 99.0, 10, in_flight=False)] == [1]
        assert await unit.due_items("b", 99.0, 10, in_flight=True) == []
        assert [item.index for item in await unit.due_items("b", 100.0, 10, in_flight=True)] == [0]


async def test_r5_work_that_goes_on_keeps_its_lease_and_work_put_back_is_due_when_it_says(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, [0, 1], lease_until=100.0)
    async with records.write() as unit:
        await unit.move_items([move(0, Head(State.PROCESSING, 0, 1), 10)])
        await unit.move_items([move(1, Head(State.PENDING, 1), 11, due_at=7.0)])

        assert await unit.due_items("b", 99.0, 10, in_flight=True) == []
        assert [item.index for item in await unit.due_items("b", 7.0, 10, in_flight=False)] == [1]


async def test_r5_a_due_item_tells_what_is_stored_of_it(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    stored = original(1, key="batches/b/originals/x")
    async with records.write() as unit:
        await unit.move_items([move(0, Head(State.PENDING, 0, 1), 10, facts=Facts(original=stored))])

        (item,) = await unit.due_items("b", 0.0, 10, in_flight=False)
        assert item.original == stored


async def test_r5_a_token_finds_what_its_claim_still_holds(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(3)))
    await claim_rows(records, [0, 1, 2], token="mine")
    async with records.write() as unit:
        await unit.move_items([move(1, Head(State.SUCCEEDED, 0, 1), 10, facts=success())])

        held = await unit.claimed("mine")
        assert [(batch_id, item.index, item.head.claims) for batch_id, item in held] == [("b", 0, 1), ("b", 2, 1)]
        assert await unit.claimed("another's") == []


async def test_r5_leases_of_published_claims_of_the_epoch_are_prolonged(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(3)))
    for index, epoch in enumerate(("now", "now", "before")):
        await claim_rows(records, [index], token=f"t{index}", epoch=epoch, lease_until=100.0)
    async with records.write() as unit:
        await unit.confirm("t0", 1.0)
        await unit.confirm("t2", 1.0)

        await unit.extend_leases("now", 200.0, 50.0)

        assert [item.index for item in await unit.due_items("b", 150.0, 10, in_flight=True)] == [1, 2]
        assert [item.index for item in await unit.due_items("b", 200.0, 10, in_flight=True)] == [1, 2, 0]


async def test_r5_a_published_lease_is_prolonged_even_when_it_has_ended_meanwhile(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    await claim_rows(records, [0], token="t", epoch="now", lease_until=100.0)
    async with records.write() as unit:
        await unit.confirm("t", 1.0)

        await unit.extend_leases("now", 300.0, 101.0)

        assert await unit.due_items("b", 150.0, 10, in_flight=True) == []


async def test_r5_claims_that_hold_nothing_are_forgotten_after_a_while_and_others_are_not(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    for index in (0, 1):
        await claim_rows(records, [index], token=f"t{index}", epoch="now")
    async with records.write() as unit:
        await unit.move_items([move(0, Head(State.PENDING, 1), 10, due_at=500.0)])
        await unit.extend_leases("now", FAR_OFF, 1000.0)
        # Were the claim of item 1 forgotten, it would count as one of another epoch.
        assert await unit.release("b", epoch="now", other_epochs=True) == 0
        assert await unit.release("b", epoch="now", other_epochs=False) == 1


@pytest.mark.parametrize(("other_epochs", "released", "claims"), [(True, 1, 4), (False, 0, 3)])
async def test_r5_what_is_released_is_due_at_once(
    records: Records, other_epochs: bool, released: int, claims: int
) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    await claim_rows(records, [0], token="t0", epoch="now", claims=4)
    await claim_rows(records, [1], token="t1", epoch="before", claims=4)
    async with records.write() as unit:
        assert await unit.release("b", epoch="now", other_epochs=other_epochs) == 1

        (item,) = await unit.due_items("b", 10.0, 10, in_flight=True)
        assert (item.index, item.head) == (released, Head(State.QUEUED, 0, claims))


async def test_r5_releasing_twice_counts_once(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    await claim_rows(records, [0], epoch="now", claims=4)
    async with records.write() as unit:
        await unit.release("b", epoch="now", other_epochs=False)

        assert await unit.release("b", epoch="now", other_epochs=False) == 0
        assert await unit.heads("b", [0]) == {0: Head(State.QUEUED, 0, 3)}


async def test_r5_open_items_are_those_not_final(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(4)))
    await claim_rows(records, [1])
    async with records.write() as unit:
        await unit.move_items([move(2, Head(State.SUCCEEDED, 0), 10, facts=success())])

        open_items = await unit.open_items("b", 10)
        assert open_items == {
            0: (Head(State.PENDING, 0), 0),
            1: (Head(State.QUEUED, 0, 1), 0),
            3: (Head(State.PENDING, 0), 0),
        }
        assert len(await unit.open_items("b", 2)) == 2


async def test_r5_leases_end_behind_a_marker_for_what_was_not_heard_of_since(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(3)))
    await claim_rows(records, [0, 1, 2], token="t", epoch="now", lease_until=100.0)
    async with records.write() as unit:
        await unit.enter_epoch("now", 0.0)
        await unit.confirm("t", 1.0)
        await unit.move_items([replace(move(1, Head(State.DOWNLOADING, 0, 1), 10), heard_at=60.0)])
        await unit.hear("b", [2], 61.0)

        await unit.pass_marker("now", 50.0)
        await unit.pass_marker("now", 40.0)
        await unit.extend_leases("now", 200.0, 90.0)

        assert [item.index for item in await unit.due_items("b", 150.0, 10, in_flight=True)] == [0]


async def test_r5_a_marker_is_asked_for_once_a_lease_and_for_what_is_not_passed(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    await claim_rows(records, [0], token="t", epoch="now", lease_until=100.0)
    async with records.write() as unit:
        await unit.enter_epoch("now", 0.0)
        await unit.hear("b", [0], 10.0)

        assert not await unit.ask_for_marker("now", 9.0, 69.0)
        assert not await unit.ask_for_marker("another", 10.0, 70.0)
        assert await unit.ask_for_marker("now", 10.0, 70.0)
        assert not await unit.ask_for_marker("now", 69.0, 129.0)
        assert await unit.ask_for_marker("now", 70.0, 130.0)

        await unit.pass_marker("now", 70.0)
        assert not await unit.ask_for_marker("now", 140.0, 200.0)


async def test_r5_a_claim_is_renewed_whether_it_is_published_or_not(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(2)))
    for index in (0, 1):
        await claim_rows(records, [index], token=f"t{index}", lease_until=100.0)
    async with records.write() as unit:
        await unit.renew("t0", 300.0, 50.0)

        assert [item.index for item in await unit.due_items("b", 200.0, 10, in_flight=True)] == [1]


async def test_r5_a_claim_that_is_renewed_was_heard_of(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    await claim_rows(records, [0], token="t", epoch="now", lease_until=20.0)
    async with records.write() as unit:
        await unit.enter_epoch("now", 0.0)
        # Its broker was away for long: it is published behind a marker that was sent as soon as it was back.
        await unit.renew("t", 120.0, 100.0)
        await unit.pass_marker("now", 41.0)
        await unit.confirm("t", 102.0)
        await unit.extend_leases("now", 200.0, 110.0)

        assert await unit.due_items("b", 150.0, 10, in_flight=True) == []


async def test_r5_what_was_released_is_not_prolonged(records: Records) -> None:
    await put_batch(records, new_batch(), new_items([0]))
    await claim_rows(records, [0], token="t", epoch="now", lease_until=100.0)
    async with records.write() as unit:
        await unit.confirm("t", 1.0)
        await unit.release("b", epoch="now", other_epochs=False)
        await unit.extend_leases("now", 200.0, 90.0)

        assert [item.index for item in await unit.due_items("b", 1.0, 10, in_flight=True)] == [0]


async def test_items_whose_originals_are_stored_durably_are_told_apart(records: Records) -> None:
    await put_batch(records, new_batch(), new_items(range(3)))
    async with records.write() as unit:
        for index, key in ((0, "batches/b/originals/x"), (1, "")):
            facts = Facts(original=original(index, key=key))
            await unit.move_items([move(index, Head(State.DOWNLOADED, 0, 1), 10 + index, facts=facts)])

        assert await unit.stored("b", range(3)) == {0}
