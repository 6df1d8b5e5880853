"""Which store of records stands behind a URL."""

from __future__ import annotations

from pathlib import Path

from imagemill.adapters.sql.revisions import Migrated, Tables
from imagemill.adapters.sql.sqlite import migrate_sqlite, open_sqlite, sqlite_tables
from imagemill.ports.records import Records, RecordsUnavailable
from imagemill.ports.unavailable import UrlUnusable

POSTGRES = ("postgresql", "postgres")
CONNECTIONS = 4
"""How many units, and how many reads, run on a server at the same time."""


async def open_records(url: str, *, survive_power_loss: bool = False, connections: int = CONNECTIONS) -> Records:
    """Open the store of a URL: `sqlite:///folder/mill.db` or `postgresql://user:password@host:port/database`.

    A file is created or brought to this version's tables; a server's are `migrate_records`' to make. What a server
    survives is its own setting; at most `connections` units and as many reads run on it at the same time.

    Raises `UrlUnusable` for a URL that is none of them, `RecordsUnavailable` when it can't be opened.
    """
    if url.partition(":")[0] in POSTGRES:
        # A mill without a server starts sooner without its driver.
        from imagemill.adapters.sql.postgres import open_postgres

        return await open_postgres(url, connections)
    return await open_sqlite(_file(url), survive_power_loss=survive_power_loss)


async def await_records(url: str, *, connections: int = CONNECTIONS) -> Records:
    """Open a store as `open_records` does, but let a server be away, or not migrated yet, for as long as it takes.

    Whatever needs it meanwhile raises `RecordsUnavailable`.
    """
    if url.partition(":")[0] in POSTGRES:
        from imagemill.adapters.sql.postgres import PostgresRecords

        return PostgresRecords(url, connections)
    return await open_sqlite(_file(url))


async def tables_at(url: str) -> Tables:
    """The tables that a store has; it is neither made nor changed.

    Raises `UrlUnusable` for a URL that is none, `RecordsUnavailable` that says why it can't be worked on.
    """
    if url.partition(":")[0] in POSTGRES:
        from imagemill.adapters.sql.postgres import postgres_tables

        return await postgres_tables(url)
    if not _file(url).exists():
        raise RecordsUnavailable(f"there is no file {_file(url)} yet; the storage service makes it")
    return await sqlite_tables(_file(url))


async def migrate_records(url: str) -> Migrated:
    """Bring the store of a URL to this version's tables; safe to repeat. Raises as `open_records` does."""
    if url.partition(":")[0] in POSTGRES:
        from imagemill.adapters.sql.postgres import migrate_postgres

        return await migrate_postgres(url)
    return await migrate_sqlite(_file(url))


def _file(url: str) -> Path:
    scheme = url.partition(":")[0]
    if scheme != "sqlite":
        raise UrlUnusable(
            f"{scheme!r} is no store of records; use sqlite:///PATH or postgresql://user:password@host:port/database"
        )
    return Path(url.removeprefix("sqlite:///"))
