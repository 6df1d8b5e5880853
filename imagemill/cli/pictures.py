"""Finished pictures under readable names in the output folder."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from imagemill.cli.exits import CommandError, ExitCode
from imagemill.cli.records import undecodable_path
from imagemill.domain.names import UNDECODABLE, picture_name
from imagemill.v1.batch_pb2 import Item

_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EINVAL}
"""What file systems say that have no hard links, or no more for this file."""


class PictureFolder:
    """Puts the renders of succeeded items into `out`, as hard links where the file system has them, else as copies.

    Placing again changes nothing. A file that is in the way is replaced if it is older than the batch (it is
    left over from an earlier list or recipe), else kept: somebody has changed the picture since.
    """

    def __init__(
        self, out: Path, temporary: Path, blob_path: Callable[[str], Path], since: float, if_gone: str
    ) -> None:
        """`if_gone` is the sentence that says what to do when a stored picture is gone."""
        self._out = os.fspath(out)
        self._temporary = os.fspath(temporary)
        self._blob_path = blob_path
        self._since = since
        self._if_gone = if_gone
        self._placed = bytearray()

    def place(self, items: Iterable[Item]) -> None:
        """Place every render of the succeeded among `items`, and what was put aside of the failed.

        Renders placed before cost nothing.

        Raises:
            CommandError: the folder can't be written, or a stored picture is gone.
        """
        for item in items:
            if aside := undecodable_path(item):
                self._place(item.original.undecodable_key, aside)
            if item.state != Item.STATE_SUCCEEDED or self._is_placed(item.index):
                continue
            for render in item.renders:
                self._place(render.key, picture_name(item.index, item.source, render.variant, render.format))
            self._note(item.index)

    def _is_placed(self, index: int) -> bool:
        return index < len(self._placed) and bool(self._placed[index])

    def _note(self, index: int) -> None:
        # One byte an item: a set of a million numbers takes 60 MB.
        if index >= len(self._placed):
            self._placed.extend(bytes(index + 1024 - len(self._placed)))
        self._placed[index] = 1

    def _place(self, key: str, name: str) -> None:
        stored = os.fspath(self._blob_path(key))
        try:
            if name.startswith(f"{UNDECODABLE}/"):
                os.makedirs(os.path.join(self._out, UNDECODABLE), exist_ok=True)
            self._link(stored, os.path.join(self._out, name))
        except OSError as error:
            raise self._unplaceable(name, error) from error

    def _link(self, stored: str, target: str) -> None:
        try:
            os.link(stored, target)
        except FileExistsError:
            if not self._may_stay(stored, target):
                self._replace(stored, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._replace(stored, target)

    def _may_stay(self, stored: str, target: str) -> bool:
        there = os.lstat(target)
        return stat.S_ISREG(there.st_mode) and (
            there.st_mtime >= self._since or os.path.samestat(there, os.stat(stored))
        )

    def _replace(self, stored: str, target: str) -> None:
        """Put a new link or copy in place of whatever is there, in one step."""
        _remove(self._temporary)
        try:
            os.link(stored, self._temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(stored, self._temporary)
        os.replace(self._temporary, target)

    def _unplaceable(self, name: str, error: OSError) -> CommandError:
        if error.errno == errno.ENOENT:
            gone = f"The stored picture behind {name} is gone, or the output folder is."
            return CommandError(f"{gone} {self._if_gone}", ExitCode.BROKEN)
        return CommandError(
            f"{name} can't be put into the output folder: {error.strerror or 'input/output error'}. "
            "It is safe with the mill; once the cause is removed, run the same command again.",
            ExitCode.BROKEN,
        )


def _remove(path: str) -> None:
    """Remove a file that may not be there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
