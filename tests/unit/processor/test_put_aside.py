"""What can't be decoded is copied to where it lasts before its place is given back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from imagemill.adapters.blobs import LocalBlobs
from imagemill.adapters.originals import KeptOriginals, LocalOriginals, SlotOriginals
from imagemill.domain.failures import Failure, FailureCode, PermanentError, PipelineError, TransientError
from imagemill.domain.items import Original, State
from imagemill.runtime.jobs import ProcessJob, decode_processes, encode_processes
from imagemill.runtime.stage import JobFailed, Outcome
from processor_svc.darkroom import Darkroom
from processor_svc.pool import RenderPool
from tests.support.builders import RECIPE

CONTENT = b"bytes that no decoder takes" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()
KEY = f"batches/b/undecodable/{SHA}"


class FailingPool:
    """Fails every picture alike."""

    def __init__(self, error: PipelineError) -> None:
        self.asked = 0
        self._error = error

    async def render(self, _: object) -> None:
        self.asked += 1
        raise self._error


class ForgetfulBlobs(LocalBlobs):
    """While it copies, the slot is given back and taken by another picture."""

    originals: LocalOriginals
    ref = ""
    left = 1.0
    """The share of the file that the other picture leaves."""

    async def copy(self, path: Path, size_bytes: int, key: str) -> None:
        await self.originals.release(self.ref)
        with open(path, "wb") as file:  # noqa: ASYNC230  # nobody waits
            file.write(b"x" * int(size_bytes * self.left))
        await super().copy(path, size_bytes, key)


class Place:
    def __init__(self, blobs: LocalBlobs, folder: Path) -> None:
        self.blobs = blobs
        self.slots = SlotOriginals(folder / "slots", 1)
        self.originals = LocalOriginals(self.slots, KeptOriginals(blobs))

    async def job(self, *, kept: bool = False) -> ProcessJob:
        async with self.originals.draft(durable=kept) as draft:
            draft.file.write(CONTENT + b"left over from a longer picture")
            ref = await draft.keep("b", SHA, len(CONTENT))
        original = Original(SHA, len(CONTENT), "png", key=self.originals.durable_key(ref))
        return ProcessJob("b", 7, 2, ref, original, 1.0, RECIPE.to_json(), keep_undecodable=True)

    async def develop(self, job: ProcessJob, pool: FailingPool) -> Outcome[None]:
        darkroom = Darkroom(cast("RenderPool", pool), self.blobs, self.originals, cast("Any", None), max_pixels=10**9)
        return await darkroom.develop(job)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(LocalBlobs(tmp_path / "blobs"), tmp_path)
    yield place
    place.slots.close()


UNDECODED: list[PipelineError] = [
    PermanentError(FailureCode.DECODE_FAILED, "damaged"),
    TransientError(FailureCode.CONTENT_TRUNCATED, "cut"),
    PermanentError(FailureCode.TOO_MANY_PIXELS, "large"),
    PermanentError(FailureCode.MEMORY_EXCEEDED, "greedy"),
    PermanentError(FailureCode.RENDER_TIMEOUT, "slow"),
    TransientError(FailureCode.RENDER_CRASHED, "deadly"),
]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("error", UNDECODED, ids=lambda error: error.failure.code.value)
async def test_the_bytes_are_copied_and_the_place_is_given_back(error: PipelineError, kept: bool, place: Place) -> None:
    job = await place.job(kept=kept)

    with pytest.raises(JobFailed) as failed:
        await place.develop(job, FailingPool(error))

    assert failed.value.error is error
    assert failed.value.keys == (KEY,)
    assert failed.value.facts.original == replace(job.original, undecodable_key=KEY)
    assert place.blobs.local_path(KEY).read_bytes() == CONTENT
    assert kept or place.originals.is_void(job.original_ref)


@pytest.mark.parametrize(
    "error",
    [
        PermanentError(FailureCode.ENCODE_FAILED, "decoded, but too wide"),
        TransientError(FailureCode.STORE_FULL, "not the picture's fault"),
    ],
    ids=lambda error: error.failure.code.value,
)
async def test_what_was_decoded_is_not_put_aside(error: PipelineError, place: Place) -> None:
    with pytest.raises(PipelineError) as raised:
        await place.develop(await place.job(), FailingPool(error))

    assert raised.value is error
    assert list(place.blobs.keys("batches/")) == []


async def test_nothing_is_put_aside_unless_the_batch_asks_for_it(place: Place) -> None:
    job = replace(await place.job(), keep_undecodable=False)

    with pytest.raises(PermanentError):
        await place.develop(job, FailingPool(UNDECODED[0]))

    assert list(place.blobs.keys("batches/")) == []


async def test_a_refused_file_is_put_aside_before_a_decoder_sees_it(place: Place) -> None:
    refusal = Failure(FailureCode.FORMAT_UNSUPPORTED, "The file is HEIC.", 200)
    sent = replace(await place.job(), refusal=refusal)
    ((job,),) = [decode_processes(message) for message in encode_processes([sent])]
    pool = FailingPool(UNDECODED[0])

    with pytest.raises(JobFailed) as failed:
        await place.develop(job, pool)

    assert pool.asked == 0
    assert isinstance(failed.value.error, PermanentError)
    assert failed.value.error.failure == refusal
    assert await place.blobs.contains([KEY])


@pytest.mark.parametrize("left", [1.0, 0.5, 0.0])
async def test_a_place_that_was_reused_meanwhile_is_not_taken_for_the_picture(left: float, tmp_path: Path) -> None:
    blobs = ForgetfulBlobs(tmp_path / "blobs")
    blobs.left = left
    place = Place(blobs, tmp_path)
    job = await place.job()
    blobs.originals, blobs.ref = place.originals, job.original_ref

    outcome = await place.develop(job, FailingPool(UNDECODED[0]))

    place.slots.close()
    assert outcome.event is not None
    assert (outcome.event.state, outcome.event.outside_budget) == (State.PENDING, True)
    assert not await blobs.contains([KEY])
