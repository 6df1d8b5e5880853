"""Which store of records stands behind a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from imagemill.adapters.sql.sqlite import open_sqlite
from imagemill.ports.records import Records


async def open_records(url: str, *, survive_power_loss: bool = False) -> Records:
    """Open the store of a URL such as `sqlite:///folder/mill.db`.

    Raises `ValueError` for a scheme that is not known, `RecordsUnavailable` when it can't be opened.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return await open_sqlite(Path(url.removeprefix("sqlite:///")), survive_power_loss=survive_power_loss)
    raise ValueError(f"{parts.scheme!r} is no store of records; use sqlite:///PATH")
