"""Links to pictures, for whoever asks for items with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from google.protobuf.duration_pb2 import Duration

from imagemill.adapters.local_changes import LocalChanges
from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.items import State
from imagemill.runtime.calls import CallError, Context
from imagemill.v1 import batch_service_pb2 as api
from storage_svc.fold import fold
from storage_svc.public_api import Links, PublicApi
from tests.support.builders import claim_rows, event, new_batch, new_items, put_batch, success

HOUR = Duration(seconds=3600)


class Signer:
    """Gives links that tell what they were made of."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    async def links(self, keys: Sequence[str], lifetime_s: float) -> Sequence[str]:
        self.asked.append(keys)
        return [f"https://store/{key}?for={lifetime_s:g}" for key in keys]


async def ask(records: SqliteRecords, links: Links | None, lifetime: Duration | None) -> api.ListItemsResponse:
    public = PublicApi(records, LocalChanges(), asyncio.Event(), links)
    request = api.ListItemsRequest(parent="batches/b", link_lifetime=lifetime)
    return await public.ListItems(request, cast("Context", None))


@pytest.fixture
async def finished(records: SqliteRecords) -> SqliteRecords:
    """Two items with the same picture, and one without."""
    await put_batch(records, new_batch(), new_items(range(3)))
    await claim_rows(records, range(3))
    await fold(records, [event(index, State.SUCCEEDED, facts=success(7)) for index in (0, 1)], 50.0)
    return records


async def test_every_picture_of_a_page_has_its_link(finished: SqliteRecords) -> None:
    signer = Signer()

    first, twin, unfinished = (await ask(finished, signer.links, HOUR)).items

    (render,) = first.renders
    assert render.url == f"https://store/{render.key}?for=3600"
    assert twin.renders[0].url == render.url
    assert not unfinished.renders
    assert signer.asked == [[render.key]]


async def test_nobody_who_asks_for_no_links_gets_any(finished: SqliteRecords) -> None:
    signer = Signer()

    items = (await ask(finished, signer.links, None)).items

    assert [render.url for item in items for render in item.renders] == ["", ""]
    assert signer.asked == []


@pytest.mark.parametrize("lifetime", [Duration(), Duration(seconds=-1), Duration(seconds=7 * 24 * 3600, nanos=1)])
async def test_links_for_no_time_or_too_long_are_refused(finished: SqliteRecords, lifetime: Duration) -> None:
    with pytest.raises(CallError) as refused:
        await ask(finished, Signer().links, lifetime)

    assert [field for field, _ in refused.value.fields] == ["link_lifetime"]


async def test_a_mill_that_can_give_no_links_says_so(finished: SqliteRecords) -> None:
    with pytest.raises(CallError) as refused:
        await ask(finished, None, HOUR)

    assert refused.value.reason == "NO_LINKS"
