"""What lay on queues that are gone is claimed again, even if nothing was claimed for the new ones in the meantime."""

from __future__ import annotations

import time
from typing import Any

import pytest

from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.v1 import storage_service_pb2 as inner
from storage_svc.claims import enter_epoch, prolong_claims
from storage_svc.control import set_state
from storage_svc.inner_api import InnerApi
from tests.support.builders import FAR_OFF, claim_rows, new_batch, new_items, put_batch, queues_of

LEASE_S = 60.0
NOBODY: Any = None


def opened(records: SqliteRecords, epoch: str) -> InnerApi:
    """A storage service whose own broker shows an epoch."""
    return InnerApi(records, LocalChanges(), queues_of(epoch), LEASE_S)


async def claim(service: InnerApi, epoch: str) -> list[int]:
    request = inner.ClaimItemsRequest(token=f"{epoch} {time.time()}", max_items=10, window=100, epoch=epoch)
    response = await service.ClaimItems(request, NOBODY)
    return [item.index for part in response.batches for item in part.items]


async def all_in_flight(records: SqliteRecords) -> None:
    """Every item was claimed and published in an epoch that is over."""
    await put_batch(records, new_batch(), new_items(range(2)))
    await enter_epoch(records, "1", time.time())
    await claim_rows(records, [0, 1], token="published", epoch="1", lease_until=FAR_OFF)
    async with records.write() as unit:
        await unit.confirm("published", 0.0)


@pytest.mark.parametrize("later_s", [20.0, 90.0], ids=["soon", "long after"])
async def test_items_in_flight_of_a_paused_batch_are_claimed_again_when_it_goes_on(
    records: SqliteRecords, later_s: float
) -> None:
    await all_in_flight(records)
    await set_state(records, "b", BatchState.PAUSED, 0.0)
    service = opened(records, "2")

    assert await claim(service, "2") == []
    for number in range(3):
        await prolong_claims(records, LEASE_S, time.time() + number * later_s)
    await set_state(records, "b", BatchState.ACTIVE, 1.0)

    assert await claim(service, "2") == [0, 1]


async def test_leases_prolonged_between_the_release_and_the_claim_are_those_of_the_new_queues(
    records: SqliteRecords,
) -> None:
    await all_in_flight(records)
    service = opened(records, "2")
    assert await service._is_present("2")

    await prolong_claims(records, LEASE_S, time.time())

    assert await claim(service, "2") == [0, 1]


async def test_whoever_still_claims_for_the_old_queues_gets_nothing(records: SqliteRecords) -> None:
    await all_in_flight(records)
    await set_state(records, "b", BatchState.PAUSED, 0.0)
    await claim(opened(records, "2"), "2")
    await set_state(records, "b", BatchState.ACTIVE, 1.0)

    assert await claim(opened(records, "1"), "1") == []
    assert await claim(opened(records, "2"), "2") == [0, 1]
