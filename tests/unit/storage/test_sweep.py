"""What is deleted from the blob store, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagemill.adapters.blobs import LocalBlobs
from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.failures import Failure, FailureCode
from imagemill.domain.items import Facts, ItemEvent, State
from imagemill.ports.blobs import BlobsUnavailable
from storage_svc.control import retry_failed
from storage_svc.fold import Leavings, fold
from storage_svc.sweep import SETTLED_S, Sweeper
from tests.support.builders import (
    BROKEN,
    GONE,
    RECIPE,
    batch_of,
    claim_rows,
    digest,
    event,
    new_batch,
    new_items,
    original,
    put_batch,
    rows_of,
    success,
)

NOW = 50.0


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


async def put_in_flight(records: SqliteRecords, number: int, *, keep_originals: bool = False) -> None:
    batch = new_batch()
    batch.keep_originals = keep_originals
    await put_batch(records, batch, new_items(range(number)))
    await claim_rows(records, range(number))


def place(content: int) -> str:
    return f"batches/b/originals/{digest(content)}"


def stored(content: int) -> Facts:
    """What the downloader tells of an original in the blob store."""
    return Facts(original=original(content, key=place(content)))


def rendered(content: int) -> Facts:
    return replace(success(content), original=original(content, key=place(content)))


async def put(blobs: LocalBlobs, *keys: str) -> None:
    for key in keys:
        path = blobs.scratch()
        path.write_bytes(b"bytes")
        await blobs.adopt(path, key)


def render_of(content: int, batch_id: str = "b") -> str:
    return f"batches/{batch_id}/renders/{digest(content)}/{RECIPE.fingerprint()}/fit-256.jpg"


async def folded(records: SqliteRecords, *events: ItemEvent) -> Leavings:
    leavings = Leavings()
    await fold(records, events, NOW, leavings)
    return leavings


async def test_an_original_is_done_with_when_its_item_is_final_and_its_row_names_it_no_more(
    records: SqliteRecords,
) -> None:
    await put_in_flight(records, 2)
    assert (await folded(records, event(0, State.DOWNLOADED, facts=stored(7)))).keys == []

    leavings = await folded(records, event(0, State.SUCCEEDED, facts=rendered(7)))

    assert leavings == Leavings([place(7)], batch_ended=False, unfinished={"b": 1})
    kept = (await rows_of(records))[0].facts.original
    assert kept is not None
    assert kept.key == ""


async def test_an_original_stays_while_a_twin_in_flight_is_known_by_it(records: SqliteRecords) -> None:
    await put_in_flight(records, 2)
    await folded(records, *(event(index, State.DOWNLOADED, facts=stored(7)) for index in (0, 1)))

    assert (await folded(records, event(0, State.SUCCEEDED, facts=rendered(7)))).keys == []
    leavings = await folded(records, event(1, State.SUCCEEDED, facts=rendered(7)))
    assert leavings == Leavings([place(7)], batch_ended=True, unfinished={"b": 0})


async def test_an_original_of_a_batch_that_keeps_them_stays_and_is_named(records: SqliteRecords) -> None:
    await put_in_flight(records, 1, keep_originals=True)

    leavings = await folded(records, event(0, State.SUCCEEDED, facts=rendered(7)))

    assert leavings == Leavings([], batch_ended=True, unfinished={"b": 0})
    assert (await rows_of(records))[0].facts == rendered(7)


async def test_another_attempt_begins_with_the_stored_bytes_unless_they_came_wrong(records: SqliteRecords) -> None:
    await put_in_flight(records, 2)
    full = Failure(FailureCode.STORE_FULL, "The disk is full.")
    await folded(
        records,
        event(0, State.PENDING, facts=replace(stored(7), failure=BROKEN)),
        event(1, State.PENDING, facts=replace(stored(8), failure=full)),
    )

    wrong, right = await rows_of(records)
    assert wrong.facts.original is None
    assert right.facts.original == stored(8).original


async def test_what_no_row_knows_is_deleted_when_the_batch_has_ended(records: SqliteRecords, blobs: LocalBlobs) -> None:
    await put_in_flight(records, 2)
    sweeper = Sweeper(records, blobs)
    mine = [render_of(0), place(0), place(9), render_of(9), f"batches/b/undecodable/{digest(9)}"]
    others = [render_of(9, "other"), f"batches/other/originals/{digest(9)}"]
    await put(blobs, *mine, *others)
    await sweeper.sweep()
    assert set(blobs.keys("batches/")) == {*mine, *others}, "the batch is at work"

    await folded(records, event(0, State.SUCCEEDED), event(1, State.FAILED, facts=Facts(GONE)))
    await sweeper.sweep()

    assert set(blobs.keys("batches/")) == {render_of(0), *others}


async def test_what_somebody_else_has_put_beside_the_blobs_hinders_nothing(
    records: SqliteRecords, blobs: LocalBlobs, tmp_path: Path
) -> None:
    await put_in_flight(records, 1)
    await put(blobs, render_of(0), render_of(9))
    strangers = [tmp_path / "blobs" / "batches" / "b" / name for name in ("notes.txt", "renders/.DS_Store", "x/zz/zzz")]
    for stranger in strangers:
        stranger.parent.mkdir(parents=True, exist_ok=True)
        stranger.write_text("not the mill's")
    await folded(records, event(0, State.SUCCEEDED))

    await Sweeper(records, blobs).sweep()

    assert await blobs.contains([render_of(0)])
    assert not await blobs.contains([render_of(9)])
    assert all(stranger.exists() for stranger in strangers)


@pytest.mark.parametrize("error", [RuntimeError("nobody foresaw this"), BlobsUnavailable("nobody may delete it")])
async def test_a_batch_that_can_not_be_swept_hinders_no_other(
    records: SqliteRecords, blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for batch_id in ("a", "b"):
        await put_batch(records, new_batch(batch_id), new_items(range(1)))
        await claim_rows(records, range(1), batch_id=batch_id)
        await folded(records, event(0, State.SUCCEEDED, batch_id=batch_id))
        await put(blobs, render_of(9, batch_id))
    keys = blobs.keys

    def broken(prefix: str) -> Iterator[str]:
        if prefix.startswith("batches/a/"):
            raise error
        return keys(prefix)

    monkeypatch.setattr(blobs, "keys", broken)

    await Sweeper(records, blobs).sweep()

    assert set(keys("batches/")) == {render_of(9, "a")}


async def test_what_failed_rows_speak_of_stays(records: SqliteRecords, blobs: LocalBlobs) -> None:
    await put_in_flight(records, 2, keep_originals=True)
    aside = f"batches/b/undecodable/{digest(1)}"
    await put(blobs, place(0), place(1), place(2), aside)
    await folded(
        records,
        event(0, State.SUCCEEDED, facts=rendered(0)),
        event(1, State.FAILED, facts=replace(stored(1), failure=GONE)),
    )

    await Sweeper(records, blobs).sweep()

    assert set(blobs.keys("batches/")) == {place(0), place(1), aside}


async def test_a_batch_is_swept_until_nothing_late_can_come_and_again_when_something_does(
    records: SqliteRecords, blobs: LocalBlobs
) -> None:
    now = NOW + 1.0
    await put_in_flight(records, 1)
    await folded(records, event(0, State.SUCCEEDED))
    sweeper = Sweeper(records, blobs, lambda: now)
    await sweeper.sweep()
    await put(blobs, place(9))

    await sweeper.sweep()
    assert list(blobs.keys("batches/")) == []
    assert not (await batch_of(records)).swept

    now = NOW + SETTLED_S
    await sweeper.sweep()
    assert (await batch_of(records)).swept

    await put(blobs, place(9))
    late = await folded(records, event(0, State.DOWNLOADED, facts=stored(9)))
    assert late == Leavings([], batch_ended=True)
    await sweeper.sweep()
    assert list(blobs.keys("batches/")) == []


async def test_a_batch_at_work_again_is_left_alone(records: SqliteRecords, blobs: LocalBlobs) -> None:
    await put_in_flight(records, 1)
    await folded(records, event(0, State.FAILED, facts=Facts(GONE)))
    await Sweeper(records, blobs).sweep()
    assert (await batch_of(records)).swept

    await retry_failed(records, "b", [], NOW)
    await put(blobs, place(0))
    await Sweeper(records, blobs).sweep()

    assert list(blobs.keys("batches/")) == [place(0)]


async def test_originals_that_are_done_with_are_deleted_and_others_are_not(
    records: SqliteRecords, blobs: LocalBlobs
) -> None:
    await put(blobs, place(1), place(2))
    sweeper = Sweeper(records, blobs)

    sweeper.done_with([place(1), place(3)])
    assert sweeper.discarding.is_set()
    await sweeper.discard()

    assert list(blobs.keys("batches/")) == [place(2)]
