"""Where pictures lie: finished renders under derived keys, and originals on their way through.

Promises, which `tests/contract/test_blobs.py` proves on every adapter:

O1  A key holds a whole blob or none: `adopt` replaces it in one step.
O2  What `settle` returned for survives what the durability setting names.
O3  A repeat of the same `adopt` changes nothing that a reader could see.
O4  `delete_prefix` leaves nothing under a prefix, and nothing else is touched.
O5  A borrowed original is the one the reference names, from the first byte to `is_void`'s answer: a reference
    to a slot that has been reused is void.
O6  An original's place is given back when its reference is released; releasing twice is harmless.
O7  A copied file's blob has exactly the bytes that were asked for, and the file stays as it is.
O8  Any number of processes use a store at the same time: none touches what another one is writing.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagemill.ports.unavailable import PartUnavailable


class Blobs(Protocol):
    """Finished pictures under keys such as `batches/{batch}/renders/{sha256}/{recipe}/{variant}.{ext}`."""

    def scratch(self) -> Path:
        """A new path, nothing there yet, from which `adopt` costs no second write."""

    async def adopt(self, path: Path, key: str) -> None:
        """Make the file at `path` the blob of `key`; the file is gone afterwards. Raises `PipelineError`."""

    async def copy(self, path: Path, size_bytes: int, key: str) -> None:
        """Make the first bytes of the file at `path` the blob of `key` (O7). Raises `PipelineError`."""

    async def contains(self, keys: Sequence[str]) -> bool:
        """Whether there is a blob under every key. Raises `PipelineError`."""

    async def settle(self, keys: Sequence[str]) -> None:
        """Return when the blobs are as durable as the settings ask (O2)."""

    def lend(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A file on this machine with the blob's bytes, to be read only, for as long as the context lasts.

        Raises `BlobMissing`, and `PipelineError` when the blob can't be read.
        """

    async def links(self, keys: Sequence[str], lifetime_s: float) -> Sequence[str]:
        """URLs under which anybody who is given one can read a blob for so many seconds.

        They are made without asking whether the blobs are there. Raises `BlobsUnavailable`.
        """

    def keys(self, prefix: str) -> Iterable[str]:
        """All keys that begin with `prefix`, in no order; found while they are asked for, which may block.

        Raises `BlobsUnavailable`, then.
        """

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete these blobs, as far as they are there. Raises `BlobsUnavailable`."""

    async def check(self) -> None:
        """See whether blobs can be written, read and deleted now. Raises `BlobsUnavailable` that says why not."""

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything whose key begins with `prefix` (O4). Raises `BlobsUnavailable`."""

    def close(self) -> None:
        """Remove what is left of scratch files; nothing may be written any more."""


class BlobFiles(Blobs, Protocol):
    """Blobs that lie on this machine as files."""

    def local_path(self, key: str) -> Path:
        """The file of a blob."""


class BlobsUnavailable(PartUnavailable):
    """The store of blobs can't be reached, read or written."""


class BlobMissing(LookupError):
    """There is no blob under a key."""


class Draft(Protocol):
    """An original being written."""

    file: io.FileIO
    """Open for writing at offset 0. A reused file may be longer than what is written to it."""

    async def keep(self, batch_id: str, sha256: str, size_bytes: int) -> str:
        """Finish writing and return the reference under which the original can be borrowed.

        A draft whose context ends without `keep` gives its place back.
        """


@dataclass(frozen=True, slots=True)
class Borrowed:
    """An original in a local file: its first `size_bytes` bytes, as the message says."""

    path: Path


class Originals(Protocol):
    """Originals on their way from the downloader to the processor."""

    def draft(self, *, durable: bool) -> AbstractAsyncContextManager[Draft]:
        """Reserve a place, waiting for one when all are taken; `durable` originals outlive the process."""

    def borrow(self, ref: str) -> AbstractAsyncContextManager[Borrowed | None]:
        """The original of a reference for as long as the context lasts, or None when it is gone.

        Raises `PipelineError` when it can't be read.
        """

    def is_void(self, ref: str) -> bool:
        """Whether the reference no longer names what was borrowed under it (O5)."""

    async def release(self, ref: str) -> None:
        """Give the place back (O6)."""

    def durable_key(self, ref: str) -> str:
        """The blob key under which the original outlives this process; empty when it doesn't."""


class PooledOriginals(Originals, Protocol):
    """Originals with a pool of places, which may become more."""

    def grow(self, slots: int) -> None:
        """Have places for at least so many drafts that are not durable."""
