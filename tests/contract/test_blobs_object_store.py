"""What an object store adds to the port: parts, retries, refusals, links, and how it is asked for its health."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.request import urlopen

import obstore
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from obstore.exceptions import BaseError

from imagemill.adapters.object_blobs import PART, ObjectBlobs, Patience, open_object_blobs
from imagemill.domain.failures import FailureCode, PipelineError
from imagemill.ports.blobs import BlobsUnavailable
from imagemill.ports.unavailable import UrlUnusable
from tests.contract.conftest import write_below
from tests.contract.test_blobs import KEY, content_of, store
from tests.support.object_front import HANG_UP, STALL, Front, Trouble, front_before
from tests.support.object_store import NOBODY, SECRET, ObjectServer

PLACE = "batches/b1/renders/0/recipe"


@pytest.fixture(autouse=True)
def _scratch(request: pytest.FixtureRequest) -> None:
    write_below(request)


@pytest.fixture
def url(s3: ObjectServer) -> str:
    return s3.url()


@pytest.fixture
def blobs(url: str) -> Iterator[ObjectBlobs]:
    opened = open_object_blobs(url)
    yield opened
    opened.close()


OpenBehind = Callable[..., tuple[Front, ObjectBlobs]]


@pytest.fixture
def behind(s3: ObjectServer, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenBehind]:
    """Opens the store behind a front that makes trouble, with little patience."""
    with ExitStack() as stack:

        def open_behind(trouble: Trouble, silence_s: float = 10.0) -> tuple[Front, ObjectBlobs]:
            front = stack.enter_context(front_before(s3.port, trouble))
            monkeypatch.setenv("AWS_ENDPOINT_URL", front.endpoint)
            patience = Patience(retries=2, retrying_s=20.0, silence_s=silence_s, request_s=10.0)
            return front, stack.enter_context(closing(open_object_blobs(url, patience)))

        yield open_behind


def first(number: int, answer: int) -> Trouble:
    """Fails the first requests."""
    return lambda _, before: answer if before < number else None


def always(answer: int) -> Trouble:
    return lambda _, __: answer


async def test_a_large_file_goes_up_in_parts_and_comes_back_whole(
    behind: OpenBehind, s3: ObjectServer, tmp_path: Path
) -> None:
    front, blobs = behind(first(0, 0))
    content = os.urandom(2 * PART + 12_345)
    path = tmp_path / "large"
    path.write_bytes(content)

    await blobs.adopt(path, KEY)

    assert await content_of(blobs, KEY) == content
    assert not path.exists()
    assert len([asked for asked in front.requests if "partNumber=" in asked]) == 3
    assert "<Upload>" not in s3.uploads()


@pytest.mark.parametrize("trouble", [500, 503, HANG_UP, STALL])
async def test_trouble_that_passes_is_not_noticed(behind: OpenBehind, trouble: int) -> None:
    front, blobs = behind(first(2, trouble), silence_s=0.3)

    await store(blobs, KEY, b"picture")

    assert len(front.requests) == 3
    assert await content_of(blobs, KEY) == b"picture"


async def test_a_part_that_fails_is_sent_again(behind: OpenBehind, tmp_path: Path) -> None:
    front, blobs = behind(lambda method, before: 503 if method == "PUT" and before in (1, 2) else None)
    path = tmp_path / "large"
    path.write_bytes(content := os.urandom(2 * PART))

    await blobs.adopt(path, KEY)

    assert await content_of(blobs, KEY) == content
    assert len([asked for asked in front.requests if "partNumber=" in asked]) == 4


@pytest.mark.parametrize(
    ("trouble", "meaning"),
    [
        (403, "the credentials may not do this there"),
        (404, "there is no such bucket"),
        (503, "it answers with 503"),
        (STALL, "it does not answer in time"),
    ],
)
async def test_trouble_that_lasts_is_said_in_words_and_fails_items_for_the_time_being(
    behind: OpenBehind, trouble: int, meaning: str
) -> None:
    front, blobs = behind(always(trouble), silence_s=0.3)
    path = blobs.scratch()
    path.write_bytes(b"picture")

    with pytest.raises(PipelineError) as adopting:
        await blobs.adopt(path, KEY)
    with pytest.raises(PipelineError) as lending:
        await content_of(blobs, KEY)
    with pytest.raises(BlobsUnavailable) as deleting:
        await blobs.delete([KEY])
    with pytest.raises(BlobsUnavailable) as listing:
        list(blobs.keys("batches/"))
    with pytest.raises(BlobsUnavailable) as checking:
        await blobs.check()

    assert path.read_bytes() == b"picture"
    failures = [adopting.value.failure, lending.value.failure]
    assert {failure.code for failure in failures} == {FailureCode.STORE_UNAVAILABLE}
    refusals = [str(refused.value) for refused in (deleting, listing, checking)]
    for text in (*(failure.message for failure in failures), *refusals):
        assert meaning in text
        assert SECRET not in text
        assert front.endpoint not in text


async def test_nobody_answers(s3: ObjectServer, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOBODY)
    with closing(open_object_blobs(url)) as blobs, pytest.raises(BlobsUnavailable, match="nothing answers there"):
        await blobs.check()


async def test_a_machine_without_credentials_says_so(
    s3: ObjectServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with closing(open_object_blobs(url)) as blobs, pytest.raises(BlobsUnavailable, match="no credentials are set"):
        await blobs.check()


async def test_a_bucket_that_is_not_there_is_no_original_that_is_gone(s3: ObjectServer) -> None:
    with closing(open_object_blobs("s3://nowhere/x")) as blobs:
        with pytest.raises(PipelineError, match="there is no such bucket"):
            await content_of(blobs, KEY)
        with pytest.raises(BlobsUnavailable, match="there is no such bucket"):
            await blobs.check()


async def test_a_store_that_is_well_is_not_asked_all_the_time_but_at_once_when_anything_failed(
    behind: OpenBehind,
) -> None:
    ill = False
    front, blobs = behind(lambda _, __: 403 if ill else None)
    await blobs.check()
    asked = len(front.requests)
    await blobs.check()
    assert len(front.requests) == asked

    ill = True
    with pytest.raises(PipelineError):
        await content_of(blobs, KEY)

    with pytest.raises(BlobsUnavailable):
        await blobs.check()
    ill = False
    await blobs.check()


async def test_pictures_are_stored_as_what_they_are(blobs: ObjectBlobs, s3: ObjectServer, url: str) -> None:
    kinds = {
        f"{PLACE}/fit.jpg": "image/jpeg", f"{PLACE}/fit.png": "image/png", f"{PLACE}/fit.webp": "image/webp",
        f"{PLACE}/fit.avif": "image/avif", "batches/b1/originals/0": "application/octet-stream",
    }  # fmt: skip
    for key in kinds:
        await store(blobs, key, b"picture")

    raw = s3.store(url)
    assert {key: (await obstore.get_async(raw, key)).attributes["Content-Type"] for key in kinds} == kinds


async def test_links_give_pictures_to_whoever_has_no_credentials(blobs: ObjectBlobs) -> None:
    keys = [f"{PLACE}/fit.jpg", f"{PLACE}/odd name+.jpg"]
    for key in keys:
        await store(blobs, key, key.encode())

    links = await blobs.links(keys, 90.0)

    for key, link in zip(keys, links, strict=True):
        assert "X-Amz-Expires=90" in link
        assert SECRET not in link
        with await asyncio.to_thread(urlopen, link) as answer:
            assert answer.read() == key.encode()
            assert answer.headers["Content-Type"] == "image/jpeg"
    assert await blobs.links([], 90.0) == []


async def test_more_keys_than_fit_a_request_are_listed_and_deleted(
    behind: OpenBehind, s3: ObjectServer, url: str
) -> None:
    front, blobs = behind(first(0, 0))
    raw = s3.store(url)
    keys = [f"batches/b1/originals/{number:04d}" for number in range(1_010)]
    for portion in range(0, len(keys), 100):
        await asyncio.gather(*(obstore.put_async(raw, key, b"x") for key in keys[portion : portion + 100]))
    await store(blobs, "batches/b2/originals/0", b"x")
    assert sorted(blobs.keys("batches/b1/")) == keys
    front.requests.clear()

    await blobs.delete_prefix("batches/b1/")

    assert s3.keys(url) == ["batches/b2/originals/0"]
    assert len(front.requests) <= 6, "one request for many keys"


async def test_stores_that_call_a_missing_key_an_error_still_delete_the_others(
    blobs: ObjectBlobs, s3: ObjectServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        await store(blobs, name, b"x")
    delete = obstore.delete_async

    async def delete_as_others_do(raw: obstore.store.ObjectStore, keys: str | list[str]) -> None:
        for key in [keys] if isinstance(keys, str) else keys:
            await obstore.head_async(raw, key)
            await delete(raw, key)

    monkeypatch.setattr(obstore, "delete_async", delete_as_others_do)

    await blobs.delete(["a", "missing", "b"])

    assert s3.keys(url) == []


@pytest.mark.parametrize(
    "given",
    ["s3://", "s3:///x", "s3://me:p4ss@bucket/x", "s3://bucket/x?secret=p4ss", "gs://bucket#p4ss", "az://box/x"],
)
def test_a_url_that_can_not_be_used_is_refused_and_nothing_of_it_told(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(UrlUnusable) as refused:
        open_object_blobs(given)

    assert "p4ss" not in str(refused.value)
    assert not isinstance(refused.value.__cause__, BaseError)


def google_account() -> dict[str, str]:
    """A service account that nobody knows."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {"private_key": private, "private_key_id": "1", "client_email": "mill@example.com"}


@pytest.mark.parametrize("url", ["gs://bucket/pictures", "az://container/pictures"])
async def test_the_other_stores_are_opened_by_url_and_sign_links(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    account = {"AZURE_STORAGE_ACCOUNT_NAME": "mill", "AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0"}
    for name, value in account.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(google_account()))

    with closing(open_object_blobs(url)) as blobs:
        (link,) = await blobs.links([KEY], 60.0)

    assert f"/pictures/{KEY}?" in link
    assert link.startswith("https://")


def test_a_place_for_scratch_files_that_belongs_to_somebody_else_is_not_used(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12_345)

    with pytest.raises(BlobsUnavailable, match="belongs to another user"):
        open_object_blobs(url)
