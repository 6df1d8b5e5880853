"""Files that are being written, in a folder of the process's own; what a dead one left is removed by the next."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

from imagemill.domain.failures import FailureCode, PipelineError, TransientError

_PIECE = 1 << 20


class ScratchFolder:
    """A folder below `place`, which any number of processes share; its lock lasts as long as this object does."""

    def __init__(self, place: Path) -> None:
        self._numbers = itertools.count()
        self._folder, descriptor = _own_folder(place)
        self._unlock = weakref.finalize(self, os.close, descriptor)

    def path(self) -> Path:
        """A new path, nothing there yet."""
        return self._folder / f"{next(self._numbers):x}"

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._unlock()


def _own_folder(place: Path) -> tuple[Path, int]:
    """A new folder, and a descriptor that holds its lock until this process ends.

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


def copy_start(path: Path, copy: Path, size_bytes: int) -> None:
    """Copy the first bytes of a file. Raises `OSError`, also when the file is shorter."""
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
