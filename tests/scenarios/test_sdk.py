"""Programs that use a mill through the client don't notice that it falls and stands up again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from imagemill.client import BatchUpdate, Item, MillClient, MillError, MillUnreachable, state_word
from tests.support import pictures
from tests.support.picture_server import PictureServer, slow, status
from tests.support.standing import StandingMill, standing_mill

RECIPE = {"variants": [{"name": "small", "mode": "inside", "width": 16, "height": 16, "format": "jpeg"}]}
BASE = pictures.jpeg(64, 48)
ITEMS = 150
PATIENCE_S = 60.0


@pytest.fixture
def mill(tmp_path: Path) -> Iterator[StandingMill]:
    with standing_mill(tmp_path) as mill:
        yield mill


@pytest.fixture
async def server() -> AsyncIterator[PictureServer]:
    async with PictureServer() as server, asyncio.timeout(PATIENCE_S):
        yield server


@pytest.fixture
async def client(mill: StandingMill) -> AsyncIterator[MillClient]:
    async with MillClient(mill.target, patience_s=30.0) as client:
        yield client


def served(server: PictureServer, number: int, name: str = "picture") -> list[str]:
    """URLs of which most bring a picture, in about 50 ms, and some nothing."""
    return [
        server.route(
            f"/{name}-{n}.jpg", status(404) if n % 10 == 3 else slow(pictures.numbered(BASE, n), len(BASE) * 20)
        )
        for n in range(number)
    ]


async def fall(mill: StandingMill, number: signal.Signals) -> None:
    """Let it end by a signal, and start it again after a moment in which nobody is there."""
    await asyncio.to_thread(mill.kill if number == signal.SIGKILL else mill.stop)
    mill.start_soon()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_watch_tells_every_item_as_it_is_through_two_restarts(
    mill: StandingMill, server: PictureServer, client: MillClient, number: signal.Signals
) -> None:
    batch = await client.submit(served(server, ITEMS), recipe=RECIPE)
    falls = [ITEMS // 4, ITEMS // 2]
    told: dict[int, Item] = {}
    revisions: list[int] = []
    last = BatchUpdate()

    async for last in client.watch(batch, view="items"):
        told |= {item.index: item for item in last.items}
        revisions.append(last.revision)
        finished = sum(state_word(item) in {"succeeded", "failed"} for item in told.values())
        if falls and finished >= falls[0]:
            falls.pop(0)
            await fall(mill, number)

    assert falls == [], "it was all done too soon"
    rows = {item.index: item async for item in client.items(batch)}
    assert told == rows
    assert [state_word(rows[index]) for index in (3, 13)] == ["failed", "failed"]
    final = await client.get(batch)
    assert (last.kind, last.revision, last.batch.progress) == (BatchUpdate.KIND_END, final.revision, final.progress)
    assert final.revision >= max(item.revision for item in rows.values())
    assert (final.progress.succeeded, final.progress.failed) == (ITEMS - 15, 15)
    assert revisions == sorted(revisions)


async def test_a_watch_of_all_batches_tells_each_end_once_through_a_restart(
    mill: StandingMill, server: PictureServer, client: MillClient
) -> None:
    names = [f"b{n}" for n in range(3)]
    for name in names[:2]:
        await client.submit(served(server, 20, name), recipe=RECIPE, batch_id=name, client_id="me")
    ends: list[str] = []
    told: dict[str, Item] = {}

    async for update in client.watch_all(client_id="me", view="results"):
        told |= {item.name: item for item in update.items}
        if update.kind == BatchUpdate.KIND_END:
            ends.append(update.batch.name)
            if len(ends) == 1:
                await fall(mill, signal.SIGKILL)
                await client.submit(served(server, 20, names[2]), recipe=RECIPE, batch_id=names[2], client_id="me")
        if len(ends) == len(names):
            break

    assert sorted(ends) == [f"batches/{name}" for name in names]
    assert told == {item.name: item for name in names async for item in client.items(name)}


async def test_a_list_arrives_whole_and_once_though_the_mill_falls_in_the_middle(
    mill: StandingMill, client: MillClient
) -> None:
    lines = [f"line {n}" for n in range(18_500)]
    falls = [5_000, 17_000]
    sent: list[int] = []

    def note(number: int) -> None:
        sent.append(number)
        if falls and number >= falls[0]:
            falls.pop(0)
            mill.kill()
            mill.start_soon()

    # read once, as from a pipe
    batch = await client.submit(iter(lines), recipe=RECIPE, on_sent=note)

    assert falls == []
    assert sent == sorted(sent)
    assert [item.source async for item in client.items(batch, page_size=5000)] == lines
    assert [each.name async for each in client.list_batches()] == [batch.name]


async def test_a_list_that_a_program_sends_again_after_its_own_end_is_one_batch(mill: StandingMill) -> None:
    lines = [f"line {n}" for n in range(18_500)]

    def note(number: int) -> None:
        if number >= 17_000:
            mill.kill()

    async with MillClient(mill.target, patience_s=0.0) as client:
        with pytest.raises(MillUnreachable):
            await client.submit(lines, recipe=RECIPE, request_id="today's list", on_sent=note)
    await asyncio.to_thread(mill.start)
    async with MillClient(mill.target) as client:
        (half,) = [batch async for batch in client.list_batches()]
        batch = await client.submit(lines, recipe=RECIPE, request_id="today's list")
        again = await client.submit(lines, recipe=RECIPE, request_id="today's list")
        assert (await client.get(batch)).progress.total == len(lines)

    assert state_word(half) == "receiving"
    assert half.progress.total in range(16_000, len(lines))
    assert half.name == batch.name == again.name


async def test_a_call_waits_for_a_mill_that_is_just_starting(mill: StandingMill, client: MillClient) -> None:
    batch = await client.submit(["no url"], recipe=RECIPE)
    mill.kill()
    mill.start_soon()

    assert (await client.wait(batch)).progress.failed == 1
    assert (await client.report(batch)).errors[0].code == "SOURCE_INVALID"


async def test_a_mill_that_stays_away_is_told_as_such(mill: StandingMill) -> None:
    async with MillClient(mill.target, patience_s=0.3) as client:
        batch = await client.submit(["no url"], recipe=RECIPE)
        mill.kill()

        with pytest.raises(MillUnreachable, match="No mill answers at unix:"):
            await client.get(batch)
        with pytest.raises(MillUnreachable):
            await client.wait(batch, give_up_after_s=0.3)
        with pytest.raises(MillError) as caught:
            await client.retry_failed(batch)

    assert caught.value.may_pass
