"""How hints of changes travel: the way that the store of records gives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imagemill.adapters.local_changes import LocalChanges
from imagemill.ports.changes import Changes
from imagemill.ports.unavailable import UrlUnusable

LOCAL = ("memory", "sqlite")
POSTGRES = ("postgresql", "postgres")


@asynccontextmanager
async def open_changes(url: str) -> AsyncIterator[Changes]:
    """Hints of changes in the store of a URL, for as long as the context lasts.

    `postgresql:` reaches every process on that database; one that is away is no error, but awaited. `sqlite:` and
    `memory:` stay inside this process. Raises `UrlUnusable` for any other.
    """
    scheme = url.partition(":")[0]
    if scheme in LOCAL:
        yield LocalChanges()
    elif scheme in POSTGRES:
        # A mill without a server starts sooner without its driver.
        from imagemill.adapters.postgres_changes import open_postgres_changes

        async with open_postgres_changes(url, LocalChanges()) as changes:
            yield changes
    else:
        raise UrlUnusable(f"{scheme!r} carries no hints; use postgresql:, sqlite: or memory:")
