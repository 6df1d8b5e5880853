"""Blobs as local files: `adopt` is a rename, and `settle` syncs a group of them at once."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from imagemill.domain.failures import FailureCode, PipelineError, TransientError

_SCRATCH = "scratch"


class LocalBlobs:
    """See `ports.blobs.Blobs`. Keys are paths under `root`; scratch files left by a crash are removed at the start."""

    def __init__(self, root: Path, *, survive_power_loss: bool = False) -> None:
        self._root = root
        self._survive_power_loss = survive_power_loss
        self._scratch = root / _SCRATCH
        self._numbers = itertools.count()
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)

    def scratch(self) -> Path:
        """A new path on the same file system."""
        return self._scratch / f"{next(self._numbers):x}"

    def adopt(self, path: Path, key: str) -> None:
        """Rename the file at `path` to its key. Raises `TransientError` when the disk refuses."""
        target = f"{self._root}/{key}"
        try:
            try:
                os.replace(path, target)
            except FileNotFoundError:
                # Every original has a folder of its own; only its first render finds it missing.
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.replace(path, target)
        except OSError as error:
            raise store_error(error) from error

    def contains(self, keys: Sequence[str]) -> bool:
        """Whether there is a file under every key."""
        return all(os.path.exists(f"{self._root}/{key}") for key in keys)

    async def settle(self, keys: Sequence[str]) -> None:
        """Sync the files and their folders, when power loss shall be survived; a rename alone survives a kill."""
        if self._survive_power_loss and keys:
            await asyncio.to_thread(self._sync, keys)

    def _sync(self, keys: Sequence[str]) -> None:
        paths = [f"{self._root}/{key}" for key in keys]
        # A new folder is durable only when its parent is, up to the batch's own.
        folders = {path.rsplit("/", up)[0] for path in paths for up in (1, 2, 3)}
        try:
            for path in (*paths, *sorted(folders, reverse=True)):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise store_error(error) from error

    def local_path(self, key: str) -> Path:
        """The file of a blob."""
        return self._root / key

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        """All keys under a prefix."""
        for folder, _, names in os.walk(self._root / prefix):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self._root)

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything under a prefix."""
        await asyncio.to_thread(shutil.rmtree, self._root / prefix, True)


def store_error(error: OSError) -> PipelineError:
    """The failure that a refusal of the disk means for an item; worth another try, since disks are emptied."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(FailureCode.STORE_FULL, "The disk of the output is full; free some space and run again.")
    return TransientError(
        FailureCode.STORE_UNAVAILABLE, "The output could not be written; check the folder's disk and permissions."
    )
