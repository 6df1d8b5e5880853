"""Where originals lie between download and rendering.

`SlotOriginals`: a fixed pool of files that are overwritten in place, for one process tree. A fresh file of 200 KB
costs 1.2 ms, an overwritten one 0.01. `KeptOriginals`: in the blob store, for those that shall outlive the process.
`LocalOriginals`: both, each draft as it is asked for. Between processes `KeptOriginals` serve alone.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from imagemill.adapters.scratch import store_error
from imagemill.ports.blobs import BlobMissing, Blobs, Borrowed, Draft
from imagemill.strikes import Point, strike

_LARGEST_REUSED = 4 << 20
"""A slot's file larger than this is cut back when it is given back, so that one huge picture doesn't hold its
disk for the rest of the run; in bytes."""


class _Slot:
    __slots__ = ("file", "generation", "number", "path")

    def __init__(self, number: int, path: Path) -> None:
        self.number = number
        self.path = path
        self.generation = 0
        self.file = io.FileIO(path, "w+")

    @property
    def ref(self) -> str:
        return f"slot:{self.number}:{self.generation}"


class _SlotDraft:
    __slots__ = ("_slot", "file", "kept")

    def __init__(self, slot: _Slot) -> None:
        self._slot = slot
        self.kept = False
        self.file = slot.file

    async def keep(self, batch_id: str, sha256: str, size_bytes: int) -> str:
        """The slot, in this generation."""
        self.kept = True
        return self._slot.ref


class SlotOriginals:
    """See `ports.blobs.Originals`. A reference carries the slot's generation, so a reused slot is void."""

    def __init__(self, folder: Path, slots: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._slots: list[_Slot] = []
        self._free: deque[_Slot] = deque()
        self._available = asyncio.Semaphore(0)
        self.grow(slots)

    def grow(self, slots: int) -> None:
        """Have at least so many slots. They are never fewer again: what lies in one may be borrowed."""
        for number in range(len(self._slots), slots):
            slot = _Slot(number, self._folder / f"{number:03d}")
            self._slots.append(slot)
            self._free.append(slot)
            self._available.release()

    @asynccontextmanager
    async def draft(self, *, durable: bool = False) -> AsyncIterator[_SlotDraft]:
        """Reserve a slot, waiting for one when all are taken."""
        await self._available.acquire()
        slot = self._free.popleft()
        slot.file.seek(0)
        draft = _SlotDraft(slot)
        try:
            yield draft
        finally:
            if not draft.kept:
                self._give_back(slot)

    @asynccontextmanager
    async def borrow(self, ref: str) -> AsyncIterator[Borrowed | None]:
        """The slot's file, unless it was reused."""
        slot = self._slot_of(ref)
        yield Borrowed(slot.path) if slot.ref == ref else None

    def is_void(self, ref: str) -> bool:
        """Whether the slot was reused."""
        return self._slot_of(ref).ref != ref

    async def release(self, ref: str) -> None:
        """Give the slot back; a reference that is void already gives nothing back."""
        slot = self._slot_of(ref)
        if slot.ref == ref:
            self._give_back(slot)

    def durable_key(self, ref: str) -> str:
        """Slots never count as stored."""
        return ""

    def _give_back(self, slot: _Slot) -> None:
        slot.generation += 1
        if os.fstat(slot.file.fileno()).st_size > _LARGEST_REUSED:
            slot.file.truncate(0)
        self._free.append(slot)
        self._available.release()
        if len(self._free) == len(self._slots):
            self._clear()

    def _clear(self) -> None:
        """Leave nothing of a download behind while there is none: a mill may stand idle for days."""
        for slot in self._slots:
            if os.fstat(slot.file.fileno()).st_size:
                slot.file.truncate(0)

    def _slot_of(self, ref: str) -> _Slot:
        return self._slots[int(ref.split(":")[1])]

    def close(self) -> None:
        """Remove the slots and what they hold."""
        for slot in self._slots:
            slot.file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _KeptDraft:
    __slots__ = ("_blobs", "_durable", "_path", "file")

    def __init__(self, blobs: Blobs, durable: bool) -> None:
        self._blobs = blobs
        self._durable = durable
        self._path = blobs.scratch()
        try:
            self.file = io.FileIO(self._path, "w+")
        except OSError as error:
            raise store_error(error) from error

    async def keep(self, batch_id: str, sha256: str, size_bytes: int) -> str:
        """The key in the blob store, derived from the bytes."""
        # A try that was cut short may have written more than the one that succeeded.
        self.file.truncate(size_bytes)
        self.file.close()
        key = f"batches/{batch_id}/originals/{sha256}"
        await self._blobs.adopt(self._path, key)
        strike(Point.ORIGINAL_KEPT)
        if self._durable:
            # Any other can be downloaded again.
            await self._blobs.settle([key])
            strike(Point.ORIGINAL_KEPT)
        return f"blob:{key}"

    def drop(self) -> None:
        self.file.close()
        self._path.unlink(missing_ok=True)


class KeptOriginals:
    """See `ports.blobs.Originals`. Originals stay until the storage service deletes them: it knows who needs them."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    @asynccontextmanager
    async def draft(self, *, durable: bool = True) -> AsyncIterator[_KeptDraft]:
        """A new scratch file."""
        draft = _KeptDraft(self._blobs, durable)
        try:
            yield draft
        finally:
            draft.drop()

    @asynccontextmanager
    async def borrow(self, ref: str) -> AsyncIterator[Borrowed | None]:
        """A file with the blob's bytes, when it is there."""
        async with AsyncExitStack() as lent:
            try:
                borrowed = Borrowed(await lent.enter_async_context(self._blobs.lend(self.durable_key(ref))))
            except BlobMissing:
                borrowed = None
            yield borrowed

    def is_void(self, ref: str) -> bool:
        """A key is derived from its content and never void."""
        return False

    async def release(self, ref: str) -> None:
        """Kept originals stay."""

    def durable_key(self, ref: str) -> str:
        """The key itself."""
        return ref.removeprefix("blob:")


class LocalOriginals:
    """See `ports.blobs.Originals`: durable drafts go to the blob store, the others through slots."""

    def __init__(self, slots: SlotOriginals, kept: KeptOriginals) -> None:
        self._slots = slots
        self._kept = kept

    def grow(self, slots: int) -> None:
        """Have places for at least so many drafts that are not durable."""
        self._slots.grow(slots)

    def draft(self, *, durable: bool) -> AbstractAsyncContextManager[Draft]:
        """Reserve a place of the kind that is asked for."""
        return self._kept.draft() if durable else self._slots.draft()

    def borrow(self, ref: str) -> AbstractAsyncContextManager[Borrowed | None]:
        """The original of a reference."""
        return self._home(ref).borrow(ref)

    def is_void(self, ref: str) -> bool:
        """Whether the reference no longer names what was borrowed."""
        return self._home(ref).is_void(ref)

    async def release(self, ref: str) -> None:
        """Give the place back."""
        await self._home(ref).release(ref)

    def durable_key(self, ref: str) -> str:
        """The key of a kept original."""
        return self._home(ref).durable_key(ref)

    def _home(self, ref: str) -> SlotOriginals | KeptOriginals:
        return self._slots if ref.startswith("slot:") else self._kept
