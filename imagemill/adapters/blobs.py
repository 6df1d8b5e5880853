"""Blobs as local files: `adopt` is a rename, and `settle` syncs a group of them at once."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from imagemill.domain.failures import FailureCode, PipelineError, TransientError
from imagemill.ports.blobs import BlobsUnavailable

_SCRATCH = "scratch"
_FOLDERS = 3
_PIECE = 1 << 20
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
        self._numbers = itertools.count()
        self._scratch, descriptor = _own_scratch(root / _SCRATCH)
        self._unlock = weakref.finalize(self, os.close, descriptor)

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

    async def copy(self, path: Path, size_bytes: int, key: str) -> None:
        """Copy into a scratch file and rename that. Raises `TransientError` when the disk refuses."""
        scratch = self.scratch()
        try:
            await asyncio.to_thread(_copy_start, path, scratch, size_bytes)
            self.adopt(scratch, key)
        except OSError as error:
            raise store_error(error) from error
        finally:
            scratch.unlink(missing_ok=True)

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
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._unlock()

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
        *folders, rest = key.split("/", _FOLDERS)
        return "/".join((self._root_text, *folders, rest[:2], rest.replace("/", _JOINT)))

    def _key(self, path: str) -> str:
        *folders, _, name = os.path.relpath(path, self._root).split("/")
        return "/".join((*folders, name.replace(_JOINT, "/")))


def _own_scratch(place: Path) -> tuple[Path, int]:
    """A new folder for scratch files, and a descriptor that holds its lock until this process ends.

    Folders without a holder, and files, are what the dead have left: they are removed.
    """
    place.mkdir(parents=True, exist_ok=True)
    for left in place.iterdir():
        _remove_unless_held(left)
    while True:
        folder = Path(tempfile.mkdtemp(dir=place))
        # A process that starts at the same moment takes a folder that is not locked yet for one that was left.
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)


def _remove_unless_held(left: Path) -> None:
    if not left.is_dir():
        left.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            pass  # its process lives
        finally:
            os.close(descriptor)


def _copy_start(path: Path, copy: Path, size_bytes: int) -> None:
    with path.open("rb") as source, copy.open("wb") as target:
        left = size_bytes
        while piece := source.read(min(left, _PIECE)):
            target.write(piece)
            left -= len(piece)
    if left:
        raise OSError(errno.EIO, "the file is shorter than it was")


def store_error(error: OSError) -> PipelineError:
    """The failure that a refusal of the disk means for an item; worth another try, since disks are emptied."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TransientError(FailureCode.STORE_FULL, "The disk of the output is full; free some space.")
    return TransientError(
        FailureCode.STORE_UNAVAILABLE, "The output could not be written; check the folder's disk and permissions."
    )
