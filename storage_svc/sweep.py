"""Deletes what lies in the blob store and nobody needs: workers delete nothing but their own temporary files.

An original goes as soon as every item that is known by its bytes is final, unless the batch keeps originals. What a
death leaves behind goes when its batch has ended: everything under the batch's prefix that no row speaks of.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

from imagemill.domain.batches import Batch
from imagemill.ports.blobs import Blobs, BlobsUnavailable
from imagemill.ports.records import Records, Unit
from imagemill.ports.unavailable import PartUnavailable
from imagemill.strikes import Point, strike

log = logging.getLogger(__name__)

SETTLED_S = 180.0
"""How long after the end of a batch a worker that was cut off may still write something for it, in seconds; three
leases. Until then its originals are looked at again and again, then everything once more."""
KINDS = ("originals", "renders", "undecodable")
"""What the mill keeps of a batch."""
BATCHES = 100
KEYS = 1_000
"""Blobs judged in one transaction."""


class Sweeper:
    """Deletes originals that are done with, and what ended batches have left."""

    def __init__(self, records: Records, blobs: Blobs, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._records = records
        self._blobs = blobs
        self._done_with: list[str] = []
        self._seen: set[str] = set()
        """Ended batches that were swept whole by this process already."""
        self.discarding = asyncio.Event()
        """Set when there are originals to delete."""
        self.sweeping = asyncio.Event()
        """Set when a batch has ended."""

    def done_with(self, keys: Sequence[str]) -> None:
        """Have originals deleted that nobody needs any more."""
        if keys:
            self._done_with += keys
            self.discarding.set()

    async def discard(self) -> None:
        """Delete the originals that are done with; those that a death, or a store that is away, keeps from it go when
        their batch ends.
        """
        keys, self._done_with = self._done_with, []
        await self._blobs.delete(keys)
        strike(Point.ORIGINALS_DELETED)

    async def sweep(self) -> None:
        """Sweep every ended batch that is not settled. Raises `RecordsUnavailable`."""
        while batches := await self._records.unswept_batches(BATCHES):
            settled = [await self._swept(batch) for batch in batches]
            if not all(settled) or len(batches) < BATCHES:
                return

    async def _swept(self, batch: Batch) -> bool:
        """Sweep one; whether nothing more can come. What is wrong with one keeps no other from it."""
        try:
            return await self._sweep(batch)
        except BlobsUnavailable as error:  # the store is away, or has a file of this batch that nobody may delete
            log.warning("The blobs of %s can't be swept: %s.", batch.id, error, extra={"action": "sweep_failed"})
        except PartUnavailable:
            raise
        except Exception as error:  # whatever lies in its folder
            log.error("The blobs of %s can't be swept.", batch.id, exc_info=error, extra={"action": "sweep_failed"})
        return False

    async def _sweep(self, batch: Batch) -> bool:
        """Sweep one; whether nothing more can come."""
        settled = self._clock() - (batch.finished_at or 0.0) >= SETTLED_S
        whole = settled or batch.id not in self._seen
        prefix = f"batches/{batch.id}/" if whole else f"batches/{batch.id}/originals/"
        keys = iter(self._blobs.keys(prefix))
        while portion := await asyncio.to_thread(_portion, keys):
            await self._delete_unknown(batch.id, portion)
        self._seen.add(batch.id)
        if settled:
            async with self._records.write() as unit:
                # Work may have begun again meanwhile.
                if (found := await _ended(unit, batch.id)) is not None:
                    found.swept = True
                    await unit.save_batch(found)
            self._seen.discard(batch.id)
        return settled

    async def _delete_unknown(self, batch_id: str, keys: Sequence[str]) -> None:
        # Under the batch's lock to the end: nobody can make it work again and refer to what is being deleted.
        async with self._records.write() as unit:
            batch = await _ended(unit, batch_id)
            if batch is None:
                return
            unknown = await _unknown(unit, batch, keys)
            await self._blobs.delete(unknown)
            strike(Point.ORPHANS_DELETED)
        if unknown:
            log.info(
                "Deleted %d files of %s that no item speaks of.", len(unknown), batch_id, extra={"action": "swept"}
            )


def _portion(keys: Iterator[str]) -> list[str]:
    return list(islice(keys, KEYS))


async def _ended(unit: Unit, batch_id: str) -> Batch | None:
    batch = (await unit.batches([batch_id])).get(batch_id)
    return batch if batch is not None and batch.state.is_final else None


async def _unknown(unit: Unit, batch: Batch, keys: Iterable[str]) -> list[str]:
    """Those of a batch's keys that no row speaks of."""
    by_kind: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for key in keys:
        _, _, kind, *rest = key.split("/")
        # What somebody else has put there is theirs.
        if kind in KINDS and rest:
            by_kind[kind][rest[0]].append(key)
    unknown: list[str] = []
    for kind, by_digest in by_kind.items():
        known = await _known(unit, batch, kind, by_digest.keys())
        unknown += [key for digest, found in by_digest.items() if digest not in known for key in found]
    return unknown


async def _known(unit: Unit, batch: Batch, kind: str, digests: Collection[str]) -> set[str]:
    """The digests whose blobs of a kind stay."""
    if kind == "originals" and not batch.keep_originals:
        return set()
    known = set(await unit.first_twins(batch.id, digests))
    if kind != "renders" and (rest := set(digests) - known):
        known |= await unit.digests_without_pictures(batch.id, rest)
    return known
