"""Where blobs and originals lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagemill.adapters.blobs import LocalBlobs, file_of
from imagemill.adapters.originals import KeptOriginals, LocalOriginals, SlotOriginals
from imagemill.ports.blobs import BlobFiles, Blobs, Originals
from imagemill.ports.unavailable import UrlUnusable

OBJECT_STORES = ("s3", "gs", "az")


def open_blobs(url: str, *, survive_power_loss: bool = False) -> Blobs:
    """Open the blob store of a URL.

    `file:///folder` is a folder. `s3://bucket/prefix`, `gs://bucket/prefix` and `az://container/prefix` are object
    stores, whose account and endpoint the environment names; one that is away is no error, but awaited. What they have
    taken survives anything. Raises `UrlUnusable`.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "file":
        return open_files(Path(url.removeprefix("file://")), survive_power_loss=survive_power_loss)
    if scheme in OBJECT_STORES:
        # A mill with a folder starts sooner without the library.
        from imagemill.adapters.object_blobs import open_object_blobs

        return open_object_blobs(url)
    raise UrlUnusable(
        f"{scheme!r} is no blob store; use file:///FOLDER, s3://BUCKET, gs://BUCKET or az://CONTAINER, "
        "the last three with /PREFIX if you like"
    )


def open_files(folder: Path, *, survive_power_loss: bool = False) -> BlobFiles:
    """Open the blob store in a folder of this machine."""
    return LocalBlobs(folder, survive_power_loss=survive_power_loss)


def stored_file(folder: Path, key: str) -> Path:
    """Where a blob of the store in a folder lies; whoever only looks there needs no leave to write."""
    return Path(file_of(str(folder), key))


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
