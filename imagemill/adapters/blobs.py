"""Blobs as local files: `adopt` is a rename, and `settle` syncs a group of them at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from imagemill.adapters.scratch import ScratchFolder, copy_start, store_error
from imagemill.ports.blobs import BlobMissing, BlobsUnavailable

_SCRATCH = "scratch"
_FOLDERS = 3
_JOINT = "~"
"""Stands for the slashes within a file's name; no segment of a key has it."""


class LocalBlobs:
    """See `ports.blobs.Blobs`. Any number of processes may share a root; what a dead one left half done is removed
    when the next one starts.

    A key's first three segments are folders. The rest becomes one file name, in a folder named by its first two
    characters: a folder for each picture would cost more than the picture's own entry.
    """

    def __init__(self, root: Path, *, survive_power_loss: bool = False) -> None:
        self._root = root
        self._root_text = str(root)
        self._survive_power_loss = survive_power_loss
        self._scratch = ScratchFolder(root / _SCRATCH)

    def scratch(self) -> Path:
        """A new path on the same file system."""
        return self._scratch.path()

    async def adopt(self, path: Path, key: str) -> None:
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

    async def copy(self, path: Path, size_bytes: int, key: str) -> None:
        """Copy into a scratch file and rename that. Raises `TransientError` when the disk refuses."""
        scratch = self.scratch()
        try:
            await asyncio.to_thread(copy_start, path, scratch, size_bytes)
            await self.adopt(scratch, key)
        except OSError as error:
            raise store_error(error) from error
        finally:
            scratch.unlink(missing_ok=True)

    async def contains(self, keys: Sequence[str]) -> bool:
        """Whether there is a file under every key."""
        return self._all_exist(keys)

    def _all_exist(self, keys: Sequence[str]) -> bool:
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

    @asynccontextmanager
    async def lend(self, key: str) -> AsyncIterator[Path]:
        """The file itself; it may be deleted meanwhile."""
        path = self.local_path(key)
        if not path.exists():
            raise BlobMissing(key)
        yield path

    async def links(self, keys: Sequence[str], lifetime_s: float) -> Sequence[str]:
        """URLs of the files, which whoever sees the folder at the same path can open for as long as they are there."""
        return [self.local_path(key).absolute().as_uri() for key in keys]

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that begin with `prefix`, in no order; a folder at a time is in memory."""
        # The last segment may be the beginning of one: it names no folder.
        folder = self._root.joinpath(*prefix.split("/")[:-1][:_FOLDERS])
        found = (os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)
        keys = (self._key(path) for path in found)
        return (key for key in keys if key.startswith(prefix))

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete the files of these keys; those that are gone already are no trouble."""
        if keys:
            await asyncio.to_thread(self._delete, keys)

    async def delete_prefix(self, prefix: str) -> None:
        """Delete everything whose key begins with `prefix`."""
        await asyncio.to_thread(lambda: self._delete(self.keys(prefix)))

    def _delete(self, keys: Iterable[str]) -> None:
        try:
            for key in keys:
                with suppress(FileNotFoundError):
                    os.unlink(self._file(key))
        except OSError as error:
            raise self._unavailable("nothing can be deleted in it", error) from error

    def close(self) -> None:
        """Remove this process's scratch folder."""
        self._scratch.close()

    async def check(self) -> None:
        """Write, read and delete a file."""
        await asyncio.to_thread(self._check)

    def _check(self) -> None:
        mark, path = os.urandom(16), self.scratch()
        try:
            path.write_bytes(mark)
            found = path.read_bytes()
            path.unlink()
        except OSError as error:
            raise self._unavailable("it can't be written", error) from error
        if found != mark:
            raise BlobsUnavailable(f"the blob store in {self._root} gives back other bytes than it was given")

    def _unavailable(self, problem: str, error: OSError) -> BlobsUnavailable:
        reason = error.strerror or "input/output error"
        return BlobsUnavailable(f"the blob store in {self._root} can't be used: {problem} ({reason})")

    def _file(self, key: str) -> str:
        return file_of(self._root_text, key)

    def _key(self, path: str) -> str:
        *folders, _, name = os.path.relpath(path, self._root).split("/")
        return "/".join((*folders, name.replace(_JOINT, "/")))


def file_of(root: str, key: str) -> str:
    """Where the blob of a key lies below `root`, for whoever only reads: nothing is made there."""
    *folders, rest = key.split("/", _FOLDERS)
    return "/".join((root, *folders, rest[:2], rest.replace("/", _JOINT)))
