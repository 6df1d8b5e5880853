"""Blobs in an object store, S3, Google Cloud Storage or Azure, through obstore.

An upload is whole or not there at all, and durable when it is answered. Credentials and endpoints come from the
environment, never from the URL. What a store says of an error may hold keys and signatures, so none of it is passed on:
`_trouble` says it in words of our own.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url

from imagemill.adapters.scratch import ScratchFolder, copy_start, store_error
from imagemill.domain.failures import FailureCode, PipelineError, TransientError
from imagemill.ports.blobs import BlobMissing, BlobsUnavailable
from imagemill.ports.unavailable import UrlUnusable

CHECK_S = 15.0
"""How long a store that was well counts as well, in seconds: every look at it is three requests, which are paid for."""
PART = 5 << 20
"""Bytes of one part of an upload in several, the least that S3 takes; smaller files are one request."""
PARTS_AT_ONCE = 4
PIECE = 1 << 20
KEYS = 1_000
"""Keys of one request that lists or deletes."""
DELETES_AT_ONCE = 16

_ENDPOINTS = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "GOOGLE_BASE_URL",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
)
_CONTENT_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "avif": "image/avif",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
}
_ANY_TYPE = "application/octet-stream"
_SIGNING = (AzureStore, GCSStore, S3Store)
_TROUBLES = (
    (r"/latest/api/token|meta-data|metadata\.google|/identity/oauth2", "no credentials are set for it"),
    (r"NoSuchBucket|ContainerNotFound|bucket does not exist", "there is no such bucket"),
    (r"InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|ExpiredToken", "it refuses these credentials"),
    (r"AccessDenied|status code: 40[13]|status: 40[13]", "the credentials may not do this there"),
    (r"dns error|failed to lookup address", "its host is not known"),
    (r"certificate", "its certificate can't be trusted"),
    (r"kind: Connect", "nothing answers there"),
    (r"kind: Timeout|timed out", "it does not answer in time"),
    (r"builder error", "its endpoint can't be used"),
)  # fmt: skip
"""What is found in an error's text, and what it means."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store is waited for."""

    retries: int = 10
    retrying_s: float = 180.0
    """No try is begun later than that."""
    silence_s: float = 60.0
    """How long it may send nothing, the time in which it is sent a part included."""
    request_s: float = 600.0
    """How long one request may take in all."""


WORKING = Patience()
CHECKING = Patience(retries=1, retrying_s=3.0, silence_s=3.5, request_s=4.0)
"""Shorter than whoever asks for the health of a part waits."""


def open_object_blobs(url: str, working: Patience = WORKING) -> ObjectBlobs:
    """Open the store of a URL such as `s3://bucket/prefix`, without asking for it. Raises `UrlUnusable`."""
    parts = urlsplit(url)
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise UrlUnusable(
            "a blob store's URL is SCHEME://BUCKET/PREFIX and nothing else; credentials and endpoint belong in the "
            "environment"
        )
    # The host is where a bucket's name stands; letters of any case are no part of one.
    place = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    try:
        return ObjectBlobs(_store(place, working), place, checked=_store(place, CHECKING))
    except BaseError as error:
        raise UrlUnusable(
            f"the blob store {place} can't be opened by what the environment says of its account and credentials"
            f"{_missing(str(error))}"
        ) from None


def _missing(text: str) -> str:
    return "; set AZURE_STORAGE_ACCOUNT_NAME" if "MissingAccount" in text else ""


def _store(place: str, patience: Patience) -> ObjectStore:
    plain = any(os.environ.get(name, "").lower().startswith("http://") for name in _ENDPOINTS)
    return from_url(
        place,
        client_options={
            "allow_http": plain or "AZURE_STORAGE_USE_EMULATOR" in os.environ,
            "connect_timeout": timedelta(seconds=3),
            "read_timeout": timedelta(seconds=patience.silence_s),
            "timeout": timedelta(seconds=patience.request_s),
        },
        retry_config={"max_retries": patience.retries, "retry_timeout": timedelta(seconds=patience.retrying_s)},
    )


class ObjectBlobs:
    """See `ports.blobs.Blobs`. Files are written and read on this machine in a scratch folder below TMPDIR."""

    def __init__(self, store: ObjectStore, place: str, *, checked: ObjectStore | None = None) -> None:
        """`place` is its URL, fit to be shown; `checked` is the same store, to be asked with less patience."""
        self._store = store
        self._checked = checked or store
        self._place = place
        self._well_until = 0.0
        # One for all looks of this process: should a look be cut off, the next one clears up behind it.
        self._check_key = f"checks/{uuid.uuid4().hex}"
        self._scratch = ScratchFolder(_own_place())

    def scratch(self) -> Path:
        """A new path on this machine."""
        return self._scratch.path()

    async def adopt(self, path: Path, key: str) -> None:
        """Upload the file, in parts if it is large, and remove it. Raises `TransientError`."""
        try:
            os.stat(path)
        except OSError as error:
            raise store_error(error) from error
        try:
            await self._upload(path, key)
        except (BaseError, OSError) as error:
            raise self._failure(error) from None
        os.unlink(path)

    async def _upload(self, path: Path, key: str) -> None:
        kind = _CONTENT_TYPES.get(key.rpartition(".")[2], _ANY_TYPE)
        await obstore.put_async(
            self._store,
            key,
            path,
            attributes={"Content-Type": kind},
            chunk_size=PART,
            max_concurrency=PARTS_AT_ONCE,
        )

    async def copy(self, path: Path, size_bytes: int, key: str) -> None:
        """Copy into a scratch file, since the file may be reused meanwhile, and upload that."""
        scratch = self.scratch()
        try:
            await asyncio.to_thread(copy_start, path, scratch, size_bytes)
            await self.adopt(scratch, key)
        except OSError as error:
            raise store_error(error) from error
        finally:
            scratch.unlink(missing_ok=True)

    async def contains(self, keys: Sequence[str]) -> bool:
        """Whether every key is there; the first that is not is the last that is asked for."""
        for key in keys:
            try:
                await obstore.head_async(self._store, key)
            except FileNotFoundError:
                return False
            except BaseError as error:
                raise self._failure(error) from None
        return True

    async def settle(self, keys: Sequence[str]) -> None:
        """An upload is durable when it is answered."""

    @asynccontextmanager
    async def lend(self, key: str) -> AsyncIterator[Path]:
        """A scratch file into which the blob is downloaded."""
        path = self.scratch()
        try:
            await self._download(key, path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def _download(self, key: str, path: Path) -> None:
        try:
            file = io.FileIO(path, "w")
        except OSError as error:
            raise store_error(error) from error
        try:
            with file:
                found = await obstore.get_async(self._store, key)
                async for piece in found.stream(min_chunk_size=PIECE):
                    _write(file, piece)
                whole = file.tell() == found.meta["size"]
        except (BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError) and not _no_bucket(error):
                raise BlobMissing(key) from None
            raise self._failure(error) from None
        if not whole:
            raise TransientError(FailureCode.STORE_UNAVAILABLE, "The blob store gave less than it has.")

    async def links(self, keys: Sequence[str], lifetime_s: float) -> Sequence[str]:
        """URLs signed with this process's credentials."""
        if not isinstance(self._store, _SIGNING):
            raise BlobsUnavailable(f"nothing in the blob store {self._place} can be reached from outside")
        if not keys:
            return []
        try:
            return await obstore.sign_async(self._store, "GET", keys, timedelta(seconds=lifetime_s))
        except BaseError as error:
            raise self._unavailable(error) from None

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that begin with `prefix`, a request for a thousand of them."""
        # The store knows whole segments only.
        folder = prefix.rpartition("/")[0]
        try:
            for found in obstore.list(self._store, folder or None, chunk_size=KEYS):
                yield from (each["path"] for each in found if each["path"].startswith(prefix))
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from None

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete these, up to a thousand with one request where the store can."""
        for first in range(0, len(keys), KEYS):
            await self._delete(keys[first : first + KEYS])

    async def _delete(self, keys: Sequence[str]) -> None:
        try:
            await obstore.delete_async(self._store, keys)
        except FileNotFoundError as error:
            # Some stores call a missing key an error, and leave the others of the request.
            if _no_bucket(error):
                raise self._unavailable(error) from None
            await self._delete_each(keys)
        except BaseError as error:
            raise self._unavailable(error) from None

    async def _delete_each(self, keys: Sequence[str]) -> None:
        places = asyncio.Semaphore(DELETES_AT_ONCE)

        async def delete(key: str) -> None:
            async with places:
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, key)

        outcomes = await asyncio.gather(*map(delete, keys), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise self._unavailable(outcome) from None

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything whose key begins with `prefix`, as it is listed."""
        keys = self.keys(prefix)
        while portion := await asyncio.to_thread(lambda: list(islice(keys, KEYS))):
            await self._delete(portion)

    async def check(self) -> None:
        """Write, read and delete a blob; a store that was well a moment ago, and failed at nothing since, is well."""
        if time.monotonic() < self._well_until:
            return
        key, mark = self._check_key, os.urandom(16)
        try:
            await obstore.put_async(self._checked, key, mark, use_multipart=False)
            found = bytes(await (await obstore.get_async(self._checked, key)).bytes_async())
            await obstore.delete_async(self._checked, key)
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from None
        if found != mark:
            raise BlobsUnavailable(f"the blob store {self._place} gives back other bytes than it was given")
        self._well_until = time.monotonic() + CHECK_S

    def close(self) -> None:
        """Remove this process's scratch folder."""
        self._scratch.close()

    def _failure(self, error: Exception) -> PipelineError:
        """What an error means for an item; worth another try, since stores come back."""
        self._well_until = 0.0
        return TransientError(FailureCode.STORE_UNAVAILABLE, f"The blob store can't be used: {_trouble(error)}.")

    def _unavailable(self, error: BaseException) -> BlobsUnavailable:
        self._well_until = 0.0
        return BlobsUnavailable(f"the blob store {self._place} can't be used: {_trouble(error)}")


def _own_place() -> Path:
    """Where scratch folders lie. Raises `BlobsUnavailable`: whoever owns the place could exchange what lies in it."""
    place = Path(tempfile.gettempdir()) / f"imagemill-{os.getuid()}"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if place.lstat().st_uid != os.getuid():
        raise BlobsUnavailable(f"{place} belongs to another user; give the mill a TMPDIR of its own")
    return place


def _write(file: io.FileIO, piece: Any) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise store_error(error) from error


def _no_bucket(error: Exception) -> bool:
    return re.search(_TROUBLES[1][0], str(error)) is not None


def _trouble(error: BaseException) -> str:
    text = str(error)
    for sign, meaning in _TROUBLES:
        if re.search(sign, text):
            return meaning
    status = re.search(r"status(?: code)?: (\d{3})", text)
    return f"it answers with {status[1]}" if status else f"it can't be understood ({type(error).__name__})"
