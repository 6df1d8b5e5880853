"""Where blobs and originals lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from imagemill.adapters.blobs import LocalBlobs
from imagemill.adapters.originals import KeptOriginals, LocalOriginals, SlotOriginals
from imagemill.ports.blobs import Blobs, Originals
from imagemill.ports.unavailable import UrlUnusable


def open_blobs(url: str, *, survive_power_loss: bool = False) -> Blobs:
    """Open the blob store of a URL such as `file:///folder`. Raises `UrlUnusable` for a scheme that is not known."""
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return LocalBlobs(Path(url.removeprefix("file://")), survive_power_loss=survive_power_loss)
    raise UrlUnusable(f"{scheme!r} is no blob store; use file:///FOLDER")


def shared_originals(blobs: Blobs) -> Originals:
    """Places for originals that several processes share: the blob store."""
    return KeptOriginals(blobs)


@contextmanager
def open_originals(blobs: Blobs, folder: Path, slots: int) -> Iterator[LocalOriginals]:
    """Places for originals in one process tree: reused slots in `folder`, and the blob store for those to keep."""
    reused = SlotOriginals(folder, slots)
    try:
        yield LocalOriginals(reused, KeptOriginals(blobs))
    finally:
        reused.close()
