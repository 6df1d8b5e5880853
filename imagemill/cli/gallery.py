"""The pictures of a mill that serves: each batch has a folder, filled as its items finish, complete when it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NoReturn

from imagemill.cli.batch_folder import BatchFolder
from imagemill.cli.bulletin import FINAL, RECEIVING, Bulletin
from imagemill.cli.exits import CommandError
from imagemill.cli.records import reports_end_of
from imagemill.client import MillClient, MillError
from imagemill.v1.batch_pb2 import Batch, Item
from imagemill.v1.batch_service_pb2 import BatchUpdate

RETRY_S = 30.0
"""Seconds after which a folder that could not be written is tried again."""
FOLDERS_AT_ONCE = 2
"""Folders that are gone through as a whole at the same time; a batch may have a million pictures."""

log = logging.getLogger(__name__)


class Gallery:
    """Keeps one folder for each batch under `pictures`, through every restart, from the mill's rows alone.

    A folder is whole when `report.json` in it tells the batch's latest end; such a one is left alone.
    """

    def __init__(
        self, pictures: Path, scratch: Path, blob_path: Callable[[str], Path], client: MillClient, bulletin: Bulletin
    ) -> None:
        self._pictures = pictures
        self._scratch = scratch
        self._blob_path = blob_path
        self._client = client
        self._bulletin = bulletin
        self._folders: dict[str, BatchFolder] = {}
        self._ended: dict[str, int] = {}
        """Batches whose end has been dealt with, and the revision of that."""
        self._completing: dict[str, Batch] = {}
        """Batches whose folders are being completed, each as of its latest end: one that is tried again ends anew."""
        self._in_trouble: set[str] = set()
        self._turns = asyncio.Semaphore(FOLDERS_AT_ONCE)

    async def keep(self) -> NoReturn:
        """Follow all batches for as long as the mill runs."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._follow(group.create_task)
                except MillError:
                    log.exception("The batches could not be followed; trying again.")
                    await asyncio.sleep(RETRY_S)

    async def _follow(self, begin: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        known: dict[str, int] = {}
        async for batch in self._client.list_batches(page_size=1000):
            known[batch.name] = batch.revision
            if batch.state in FINAL:
                self._note_end(batch, begin, is_old=True)
            elif batch.state not in RECEIVING:
                self._bulletin.hear(batch, is_old=True)
                begin(self._catch_up(batch))
        updates = self._client.watch_all(after_revisions=known, view="results", give_up_after_s=math.inf)
        async with aclosing(updates):
            async for update in updates:
                if update.revision <= self._ended.get(update.batch.name, -1):
                    continue
                self._bulletin.hear(update.batch)
                if update.items:
                    await self._place(update.batch, update.items)
                if update.kind == BatchUpdate.KIND_END:
                    self._note_end(update.batch, begin)

    def _note_end(
        self, batch: Batch, begin: Callable[[Coroutine[Any, Any, None]], object], *, is_old: bool = False
    ) -> None:
        if batch.revision <= self._ended.get(batch.name, -1):
            return
        self._ended[batch.name] = batch.revision
        if is_old and self._is_whole(batch):
            return
        if batch.name not in self._completing:
            begin(self._complete(batch.name))
        self._completing[batch.name] = batch

    def path_of(self, batch: Batch) -> Path:
        """Return the folder of a batch."""
        return self._pictures / batch.name.removeprefix("batches/")

    def _is_whole(self, batch: Batch) -> bool:
        try:
            record = json.loads((self.path_of(batch) / "report.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(record, dict) and reports_end_of(record, batch)

    async def _catch_up(self, batch: Batch) -> None:
        """Place what finished before this start and may not lie there yet."""
        try:
            async with self._turns:
                async for page in self._client.item_pages(batch, states=["succeeded"]):
                    await self._place(batch, page)
        except MillError:
            # The batch's end goes through all of it again.
            log.exception("The earlier pictures of %s could not be listed.", batch.name)

    async def _place(self, batch: Batch, items: Sequence[Item]) -> None:
        try:
            await self._folder(batch).place(items)
        except CommandError as error:
            self._tell_trouble(batch, error)

    async def _complete(self, name: str) -> None:
        """Bring the folder of a batch that has ended to its final state, however long that is impossible.

        If it ends anew meanwhile, once more.
        """
        completed: Batch | None = None
        while completed is not self._completing[name]:
            batch = self._completing[name]
            try:
                async with self._turns:
                    await self._folder(batch).complete(self._client)
                completed = batch
            except (CommandError, MillError) as error:
                self._tell_trouble(batch, error)
                await asyncio.sleep(RETRY_S)
        batch = self._completing.pop(name)
        self._folders.pop(batch.name, None)
        self._in_trouble.discard(batch.name)
        self._bulletin.ended(batch, f" → {self.path_of(batch)}")

    def _folder(self, batch: Batch) -> BatchFolder:
        """Return the folder, made when missing. Raises `CommandError`."""
        path = self.path_of(batch)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"{path} can't be used as a folder: {error.strerror}.") from error
        if batch.name not in self._folders:
            self._folders[batch.name] = BatchFolder(path, self._scratch, self._blob_path, batch, f"{path.name}-")
        return self._folders[batch.name]

    def _tell_trouble(self, batch: Batch, error: Exception) -> None:
        """Log each trouble, and tell of a batch's first: its items go on, and its folder is tried again at its end."""
        log.error("The folder of %s can't be written.", batch.name, exc_info=error)
        if batch.name not in self._in_trouble:
            self._in_trouble.add(batch.name)
            cause = getattr(error.__cause__, "strerror", None) or "the log says why"
            self._bulletin.trouble(batch, f"{self.path_of(batch)} can't be written ({cause}); it is tried again")
