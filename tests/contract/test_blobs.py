"""The promises of `imagemill.ports.blobs`, by their numbers."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from contextlib import closing
from pathlib import Path

import pytest

from imagemill.adapters.blobs import LocalBlobs
from imagemill.domain.failures import FailureCode, PipelineError
from imagemill.ports.blobs import BlobMissing, Blobs, BlobsUnavailable, Originals
from tests.contract.conftest import Lodging, OpenBlobs
from tests.support.builders import digest

SHA = digest(1)
KEY = f"batches/b1/renders/{SHA}/recipe/fit.jpg"


async def store(blobs: Blobs, key: str, content: bytes) -> None:
    path = blobs.scratch()
    path.write_bytes(content)
    await blobs.adopt(path, key)


async def content_of(blobs: Blobs, key: str) -> bytes:
    async with blobs.lend(key) as path:
        return path.read_bytes()


async def keep(originals: Originals, content: bytes, *, durable: bool, batch_id: str = "b1", number: int = 1) -> str:
    async with originals.draft(durable=durable) as draft:
        draft.file.write(content)
        return await draft.keep(batch_id, digest(number), len(content))


async def read(originals: Originals, ref: str, size: int) -> bytes:
    async with originals.borrow(ref) as borrowed:
        assert borrowed is not None
        return borrowed.path.read_bytes()[:size]


async def test_o1_an_adopted_file_is_the_blob_and_gone_from_where_it_was(blobs: Blobs) -> None:
    path = blobs.scratch()
    path.write_bytes(b"picture")

    await blobs.adopt(path, KEY)

    assert await content_of(blobs, KEY) == b"picture"
    assert not path.exists()
    assert await blobs.contains([KEY])


async def test_deleted_keys_are_gone_and_missing_ones_no_trouble(blobs: Blobs) -> None:
    other = KEY.replace("fit", "other")
    await store(blobs, KEY, b"picture")
    await store(blobs, other, b"picture")

    await blobs.delete([KEY, KEY.replace("fit", "never-there")])

    assert list(blobs.keys("batches/")) == [other]


async def test_a_check_leaves_nothing_behind(blobs: Blobs) -> None:
    await blobs.check()

    assert list(blobs.keys("batches/")) == []


def test_o8_another_process_that_begins_touches_nothing_that_is_being_written(tmp_path: Path) -> None:
    first = LocalBlobs(tmp_path)
    path = first.scratch()
    path.write_bytes(b"half a pic")

    second = LocalBlobs(tmp_path)

    assert path.read_bytes() == b"half a pic"
    assert second.scratch() != first.scratch()


def test_o8_what_a_dead_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    dead = LocalBlobs(tmp_path)
    path = dead.scratch()
    path.write_bytes(b"half a pic")
    del dead

    LocalBlobs(tmp_path)

    assert not path.parent.exists()


async def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    shutil.rmtree(tmp_path / "scratch")

    with pytest.raises(BlobsUnavailable, match="can't be written"):
        await blobs.check()


async def test_o1_there_is_no_blob_before_it_is_adopted(blobs: Blobs) -> None:
    blobs.scratch().write_bytes(b"half a pic")

    assert not await blobs.contains([KEY])
    assert list(blobs.keys("batches/b1/")) == []


async def test_o1_contains_asks_for_every_key(blobs: Blobs) -> None:
    await store(blobs, KEY, b"picture")

    assert not await blobs.contains([KEY, KEY + "2"])
    assert await blobs.contains([])


async def test_o1_a_reader_sees_the_old_blob_or_the_new_one_never_a_mixture(blobs: Blobs) -> None:
    contents = [bytes([value]) * 100_000 for value in (1, 2)]
    await store(blobs, KEY, contents[0])
    seen: set[bytes] = set()
    stop = threading.Event()

    async def look() -> None:
        while not stop.is_set():
            seen.add(await content_of(blobs, KEY))

    reader = threading.Thread(target=lambda: asyncio.run(look()))
    reader.start()
    for number in range(200):
        await store(blobs, KEY, contents[number % 2])
    stop.set()
    reader.join()

    assert seen <= set(contents)
    assert seen


async def test_o1_a_refused_adoption_is_a_failure_of_the_store_worth_another_try(blobs: Blobs) -> None:
    with pytest.raises(PipelineError) as refused:
        await blobs.adopt(blobs.scratch(), KEY)

    assert refused.value.failure.code is FailureCode.STORE_UNAVAILABLE
    assert not await blobs.contains([KEY])


def test_o1_scratch_paths_are_new_each_time(blobs: Blobs) -> None:
    paths = {blobs.scratch() for _ in range(100)}

    assert len(paths) == 100
    assert not any(path.exists() for path in paths)


async def test_o2_a_settled_blob_is_there_for_whoever_opens_the_store_next(blobs: Blobs, open_store: OpenBlobs) -> None:
    await store(blobs, KEY, b"picture")

    await blobs.settle([KEY])

    with closing(open_store()) as next_one:
        assert await content_of(next_one, KEY) == b"picture"


async def test_o2_nothing_to_settle_is_settled(blobs: Blobs) -> None:
    await blobs.settle([])


async def test_o2_to_survive_power_loss_file_and_folders_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobs(tmp_path, survive_power_loss=True)
    await store(blobs, KEY, b"picture")
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)

    await blobs.settle([KEY])

    file = blobs.local_path(KEY)
    assert synced[0] == str(file)
    assert set(synced[1:]) >= {str(file.parent), str(file.parent.parent)}


async def test_o2_a_blob_that_can_not_be_settled_is_a_failure(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path, survive_power_loss=True)

    with pytest.raises(PipelineError) as refused:
        await blobs.settle([KEY])

    assert refused.value.failure.code is FailureCode.STORE_UNAVAILABLE


async def test_o3_a_repeat_changes_nothing_that_a_reader_could_see(blobs: Blobs) -> None:
    await store(blobs, KEY, b"picture")
    await store(blobs, KEY, b"picture")

    assert await content_of(blobs, KEY) == b"picture"
    assert list(blobs.keys("batches/b1/")) == [KEY]


async def test_o4_deleting_a_prefix_leaves_nothing_of_it_and_touches_nothing_else(blobs: Blobs) -> None:
    gone = [
        f"batches/b1/renders/{digest(n)}/recipe/{variant}.jpg" for n in range(3) for variant in ("fit", "fit-2")
    ] + [f"batches/b1/originals/{digest(1)}"]
    kept = [f"batches/b10/renders/{SHA}/recipe/fit.jpg", f"batches/b1x/originals/{SHA}"]
    for key in gone + kept:
        await store(blobs, key, key.encode())

    await blobs.delete_prefix("batches/b1/")

    assert list(blobs.keys("batches/b1/")) == []
    assert not any([await blobs.contains([key]) for key in gone])
    assert [await content_of(blobs, key) for key in kept] == [key.encode() for key in kept]


async def test_o4_deleting_what_is_not_there_is_harmless(blobs: Blobs) -> None:
    await blobs.delete_prefix("batches/unknown/")


@pytest.mark.parametrize(
    "prefix",
    [
        "batches/b1", "batches/b1/", "batches/b1/rend", f"batches/b1/renders/{SHA[:1]}",
        f"batches/b1/renders/{SHA}/", f"batches/b1/renders/{SHA}/recipe/fit.",
    ],
)  # fmt: skip
async def test_o4_keys_are_found_by_any_beginning(blobs: Blobs, prefix: str) -> None:
    keys = [KEY, f"batches/b1/renders/{SHA}/recipe/fit-2.jpg", f"batches/b10/originals/{SHA}"]
    for key in keys:
        await store(blobs, key, b"picture")

    assert sorted(blobs.keys(prefix)) == sorted(key for key in keys if key.startswith(prefix))


async def test_o5_a_borrowed_original_has_the_bytes_that_were_kept(lodging: Lodging) -> None:
    ref = await keep(lodging.originals, b"first", durable=lodging.durable)
    other = await keep(lodging.originals, b"other", durable=lodging.durable, number=2)

    assert await read(lodging.originals, ref, 5) == b"first"
    assert await read(lodging.originals, other, 5) == b"other"
    assert not lodging.originals.is_void(ref)


async def test_o5_what_a_cut_off_try_left_is_no_part_of_the_original(lodging: Lodging) -> None:
    async with lodging.originals.draft(durable=lodging.durable) as draft:
        draft.file.write(b"a longer try that broke off")
        draft.file.seek(0)
        draft.file.write(b"short")
        ref = await draft.keep("b1", SHA, 5)

    assert await read(lodging.originals, ref, 5) == b"short"


async def test_o5_a_reference_to_a_reused_place_is_void(lodging: Lodging) -> None:
    originals = lodging.originals
    ref = await keep(originals, b"first", durable=lodging.durable)
    await originals.release(ref)
    for number in range(2, 6):
        await originals.release(await keep(originals, b"later", durable=lodging.durable, number=number))

    async with originals.borrow(ref) as borrowed:
        # Either it is still the one that was kept, or it says that it is not.
        assert originals.is_void(ref) == (borrowed is None)
        assert borrowed is None or borrowed.path.read_bytes() == b"first"
    assert bool(originals.durable_key(ref)) == lodging.durable


async def test_o5_a_durable_original_is_a_blob_and_one_that_is_gone_can_not_be_borrowed(lodging: Lodging) -> None:
    ref = await keep(lodging.originals, b"first", durable=True)
    key = lodging.originals.durable_key(ref)
    assert await content_of(lodging.blobs, key) == b"first"

    await lodging.blobs.delete_prefix("batches/b1/")

    async with lodging.originals.borrow(ref) as borrowed:
        assert borrowed is None


async def test_o1_what_is_not_there_can_not_be_lent(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing):
        async with blobs.lend(KEY):
            pass


async def test_what_was_lent_leaves_nothing_behind(blobs: Blobs) -> None:
    await store(blobs, KEY, b"picture")

    async with blobs.lend(KEY) as path:
        assert path.read_bytes() == b"picture"

    assert not list(blobs.scratch().parent.iterdir())


async def test_o6_a_place_is_given_back_by_release_and_by_a_draft_that_was_not_kept(lodging: Lodging) -> None:
    originals = lodging.originals
    async with asyncio.timeout(5.0):
        for number in range(5):
            await originals.release(await keep(originals, b"x", durable=lodging.durable, number=number))
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                async with originals.draft(durable=lodging.durable):
                    raise ZeroDivisionError


async def test_o6_releasing_twice_is_harmless(lodging: Lodging) -> None:
    originals = lodging.originals
    first = await keep(originals, b"first", durable=lodging.durable)
    await originals.release(first)
    await originals.release(first)

    refs = [await keep(originals, b"%d" % n, durable=lodging.durable, number=n) for n in range(2)]
    await originals.release(first)

    # Had the second release given anything back, two drafts would share a place.
    assert [await read(originals, ref, 1) for ref in refs] == [b"0", b"1"]


async def test_o6_a_draft_waits_until_a_place_is_given_back(lodging: Lodging) -> None:
    originals = lodging.originals
    held = [await keep(originals, b"x", durable=False, number=number) for number in range(2)]
    waiting = asyncio.create_task(keep(originals, b"third", durable=False, number=3))
    await asyncio.sleep(0)
    assert not waiting.done()

    await originals.release(held[0])

    async with asyncio.timeout(5.0):
        assert await read(originals, await waiting, 5) == b"third"
