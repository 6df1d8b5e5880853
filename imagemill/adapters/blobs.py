"""Blobs as local files: `adopt` is a rename, and `settle` syncs a group of them at once."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from imagemill.domain.failures import FailureCode, PipelineError, TransientError

_SCRATCH = "scratch"
_FOLDERS = 3
_JOINT = "~"
"""Stands for the slashes within a file's name; no segment of a key has it."""


class LocalBlobs:
    """See `ports.blobs.Blobs`. Scratch files left by a crash are removed at the start.

    A key's first three segments are folders. The rest becomes one file name, in a folder named by its first two
    characters: a folder for each picture would cost more than the picture's own entry.
    """

    def __init__(self, root: Path, *, survive_power_loss: bool = False) -> None:
        self._root = root
        self._root_text = str(root)
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
        target = self._file(key)
        try:
            try:
                os.replace(path, target)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.replace(path, target)
        except OSError as error:
            raise store_error(error) from error

    def contains(self, keys: Sequence[str]) -> bool:
        """Whether there is a file under every key."""
        return all(os.path.exists(self._file(key)) for key in keys)

    async def settle(self, keys: Sequence[str]) -> None:
        """Sync the files and their folders, when power loss shall be survived; a rename alone survives a kill."""
        if self._survive_power_loss and keys:
            await asyncio.to_thread(self._sync, keys)

    def _sync(self, keys: Sequence[str]) -> None:
        paths = [self._file(key) for key in keys]
        # A new folder is durable only when its parent is, up to the root.
        folders = {str(parent) for path in paths for parent in Path(path).relative_to(self._root).parents}
        above = [f"{self._root_text}/{folder}" for folder in sorted(folders, reverse=True)]
        try:
            for path in (*paths, *above):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise store_error(error) from error

    def local_path(self, key: str) -> Path:
        """The file of a blob."""
        return Path(self._file(key))

    def keys(self, prefix: str) -> list[str]:
        """All keys that begin with `prefix`, in no order."""
        # The last segment may be the beginning of one: it names no folder.
        folder = self._root.joinpath(*prefix.split("/")[:-1][:_FOLDERS])
        found = (os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)
        keys = (self._key(path) for path in found)
        return [key for key in keys if key.startswith(prefix)]

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything whose key begins with `prefix`."""
        await asyncio.to_thread(self._delete, prefix)

    def _delete(self, prefix: str) -> None:
        for key in self.keys(prefix):
            os.unlink(self._file(key))

    def _file(self, key: str) -> str:
        *folders, rest = key.split("/", _FOLDERS)
        return "/".join((self._root_text, *folders, rest[:2], rest.replace("/", _JOINT)))

    def _key(self, path: str) -> str:
        *folders, _, name = os.path.relpath(path, self._root).split("/")
        return "/".join((*folders, name.replace(_JOINT, "/")))


def store_error(error: OSError) -> PipelineError:
    """The failure that a refusal of the disk means for an item; worth another try, since disks are emptied."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TransientError(FailureCode.STORE_FULL, "The disk of the output is full; free some space.")
    return TransientError(
        FailureCode.STORE_UNAVAILABLE, "The output could not be written; check the folder's disk and permissions."
    )
