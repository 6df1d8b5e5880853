"""An original that is not there whole is downloaded again, and nothing is rendered of what is left of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from imagemill.adapters.blobs import LocalBlobs
from imagemill.adapters.originals import KeptOriginals, LocalOriginals, SlotOriginals
from imagemill.domain.items import ItemEvent, Original, State
from imagemill.runtime.jobs import ProcessJob
from processor_svc.darkroom import Darkroom
from processor_svc.pool import RenderPool
from tests.support import pictures
from tests.support.builders import RECIPE

PICTURE = pictures.jpeg()
AGAIN = ItemEvent("b", 7, 2, State.PENDING, outside_budget=True)
"""Another download, which costs no attempt."""


class NoPool:
    """Has nothing to render, and says so."""

    async def render(self, _: object) -> NoReturn:
        raise AssertionError("an original that is not whole was rendered")


class Place:
    """Where originals lie, and a darkroom that takes them from there."""

    def __init__(self, folder: Path) -> None:
        self.blobs = LocalBlobs(folder)
        self.slots = SlotOriginals(folder / "slots", 2)
        self.originals = LocalOriginals(self.slots, KeptOriginals(self.blobs))

    async def job(self, *, kept: bool) -> ProcessJob:
        """The job for a picture that has just been downloaded."""
        digest = hashlib.sha256(PICTURE).hexdigest()
        async with self.originals.draft(durable=kept) as draft:
            draft.file.write(PICTURE)
            ref = await draft.keep("b", digest, len(PICTURE))
        original = Original(digest, len(PICTURE), "jpeg", key=self.originals.durable_key(ref))
        return ProcessJob("b", 7, 2, ref, original, 1.0, RECIPE.to_json())

    async def file(self, job: ProcessJob) -> Path:
        """The file in which the job's original lies."""
        async with self.originals.borrow(job.original_ref) as borrowed:
            assert borrowed is not None
            return borrowed.path

    async def develop(self, job: ProcessJob) -> ItemEvent | None:
        """What becomes of the job."""
        pool, storage = cast("RenderPool", NoPool()), cast("Any", None)
        darkroom = Darkroom(pool, self.blobs, self.originals, storage, max_pixels=10**9)
        return (await darkroom.develop(job)).event


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.slots.close()


def cut_short(file: Path) -> None:
    file.write_bytes(PICTURE[:-1])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut_short, emptied, Path.unlink])
async def test_a_kept_original_that_lost_something_is_downloaded_again(
    place: Place, harm: Callable[[Path], None]
) -> None:
    job = await place.job(kept=True)
    harm(await place.file(job))

    assert await place.develop(job) == AGAIN


async def test_a_slot_that_was_cut_is_downloaded_again(place: Place) -> None:
    job = await place.job(kept=False)
    cut_short(await place.file(job))

    assert await place.develop(job) == AGAIN


async def test_a_slot_that_holds_another_picture_by_now_is_downloaded_again(place: Place) -> None:
    job = await place.job(kept=False)
    await place.originals.release(job.original_ref)

    assert await place.develop(job) == AGAIN
