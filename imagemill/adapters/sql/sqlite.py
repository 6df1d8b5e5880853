"""SQLite: one writer at a time, readers beside it (WAL), the hot statements handed to the driver in one go.

Every unit that writes begins with BEGIN IMMEDIATE: a transaction that reads first and writes later fails as soon
as another one wrote in between. There is no SKIP LOCKED here; the one writer makes it needless.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from imagemill.adapters.sql.rows import FACT_COLUMNS, fact_values
from imagemill.adapters.sql.schema import SCHEMA_VERSION, meta, metadata
from imagemill.adapters.sql.steady import steady_transaction
from imagemill.adapters.sql.unit import SqlUnit
from imagemill.adapters.sql.views import SqlView
from imagemill.domain.items import Facts, Head, State
from imagemill.ports.records import Claim, Move, NewItem, RecordsUnavailable, Twin

READERS = 3
CACHE_KIB = 2048
"""Pages that each connection keeps, in KiB: what is hot is the small end of the indexes, the rest is read once."""

_INSERT = (
    "INSERT INTO items (batch_id, idx, source, source_row, host, state, revision, finished_at, error_code, "
    "error_message) VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
)
_EXISTING = "SELECT idx FROM items WHERE batch_id=? AND idx IN (SELECT value FROM json_each(?))"
_HEADS = "SELECT idx, state, attempt, claims FROM items WHERE batch_id=? AND idx IN (SELECT value FROM json_each(?))"
_MOVE = "UPDATE items SET state=?, attempt=?, claims=?, due_at=MAX(due_at*?, ?), revision=?, finished_at=?"
_WHERE = " WHERE batch_id=? AND idx=?"
_MOVE_WITH_FACTS = _MOVE + "".join(f", {column}=?" for column in FACT_COLUMNS) + _WHERE
_CLAIM = "UPDATE items SET state=?, attempt=?, claims=?, due_at=?, claim_token=?, revision=?" + _WHERE
_TWINS = (
    "SELECT idx, sha256, duplicate_of FROM items "
    f"WHERE batch_id=? AND state={State.SUCCEEDED.value} AND sha256 IN (SELECT value FROM json_each(?)) "
    "ORDER BY sha256, idx"
)
_POINT = "UPDATE items SET duplicate_of=?, revision=?" + _WHERE


class SqliteUnit(SqlUnit):
    """The hot statements in SQLite's wording."""

    async def insert_items(self, batch_id: str, items: Sequence[NewItem], revision: int, now: float) -> set[int]:
        """Add items; the indexes that were new."""
        known = {index for (index,) in await self._rows(_EXISTING, batch_id, [item.index for item in items])}
        new = [item for item in items if item.index not in known]
        rows = [_new_values(batch_id, item, revision + n, now) for n, item in enumerate(new, start=1)]
        if rows:
            await self._connection.exec_driver_sql(_INSERT, rows)
        return {item.index for item in new}

    async def heads(self, batch_id: str, indexes: Collection[int]) -> dict[int, Head]:
        """The heads of the items that exist."""
        rows = await self._rows(_HEADS, batch_id, list(indexes))
        return {index: Head(State(state), attempt, claims) for index, state, attempt, claims in rows}

    async def move_items(self, moves: Sequence[Move]) -> None:
        """Write moves: those with facts and those without."""
        plain = [_move_values(move) for move in moves if move.facts is None]
        full = [_move_values(move, move.facts) for move in moves if move.facts is not None]
        if plain:
            await self._connection.exec_driver_sql(_MOVE + _WHERE, plain)
        if full:
            await self._connection.exec_driver_sql(_MOVE_WITH_FACTS, full)

    async def twins(self, batch_id: str, digests: Collection[str]) -> list[Twin]:
        """The succeeded items with these digests, by digest and index."""
        return [Twin(*row) for row in await self._rows(_TWINS, batch_id, sorted(digests))]

    async def point_duplicates(self, batch_id: str, changes: Sequence[tuple[int, int | None, int]]) -> None:
        """Write (index, duplicate_of, revision)."""
        if changes:
            rows = [(twin, revision, batch_id, index) for index, twin, revision in changes]
            await self._connection.exec_driver_sql(_POINT, rows)

    async def claim(self, claim: Claim, batch_id: str, items: Sequence[tuple[int, Head, int]], now: float) -> None:
        """Write (index, head, revision) of claimed items."""
        await self._connection.exec_driver_sql(
            "INSERT INTO claims (token, epoch, claimed_at) VALUES (?,?,?) ON CONFLICT DO NOTHING",
            (claim.token, claim.epoch, now),
        )
        rows = [
            (head.state.value, head.attempt, head.claims, claim.lease_until, claim.token, revision, batch_id, index)
            for index, head, revision in items
        ]
        await self._connection.exec_driver_sql(_CLAIM, rows)

    async def _rows(self, statement: str, batch_id: str, values: Sequence[object]) -> Sequence[Any]:
        result = await self._connection.exec_driver_sql(statement, (batch_id, json.dumps(values)))
        return result.all()


def _new_values(batch_id: str, item: NewItem, revision: int, now: float) -> tuple[Any, ...]:
    failure = item.failure
    return (
        batch_id, item.index, item.source, item.source_row, item.host, item.state.value, revision,
        now if item.state.is_final else None,
        failure.code.value if failure else None, failure.message if failure else None,
    )  # fmt: skip


def _move_values(move: Move, facts: Facts | None = None) -> tuple[Any, ...]:
    head = move.head
    # Work that goes on keeps the lease it has; work that is put back is due when it says.
    keeps_lease = 1 if head.state.is_in_flight else 0
    return (
        head.state.value, head.attempt, head.claims, keeps_lease, move.due_at, move.revision, move.finished_at,
        *(fact_values(facts) if facts is not None else ()),
        move.batch_id, move.index,
    )  # fmt: skip


class SqliteRecords(SqlView):
    """See `ports.records.Records`; open with `open_sqlite`."""

    def __init__(self, writer: AsyncEngine, readers: AsyncEngine) -> None:
        super().__init__(readers)
        self._writer = writer

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqliteUnit]:
        """Open a unit. Raises `RecordsUnavailable` when the file is locked for too long or the disk is full."""
        try:
            async with steady_transaction(self._writer) as connection:
                yield SqliteUnit(connection)
        except DBAPIError as error:
            raise RecordsUnavailable("the database file could not be written") from error

    async def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        await self._readers.dispose()
        async with self._writer.connect() as connection:
            await connection.exec_driver_sql("ROLLBACK")
            await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        await self._writer.dispose()


class SchemaUnknown(RecordsUnavailable):
    """The file was written by another version of the mill whose schema this one doesn't know."""


async def open_sqlite(path: Path, *, survive_power_loss: bool = False) -> SqliteRecords:
    """Open or create the database file. Raises `SchemaUnknown`, `RecordsUnavailable`.

    A commit survives the death of any process; with `survive_power_loss` also that of the machine.
    """
    url = f"sqlite+aiosqlite:///{path}"
    # One connection is the write lock: whoever waits for it waits in this process, in order, not on the file.
    writer = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=600)
    readers = create_async_engine(url, pool_size=READERS, max_overflow=0, pool_timeout=600)
    synchronous = "FULL" if survive_power_loss else "NORMAL"
    _speak_sqlite(writer, "BEGIN IMMEDIATE", synchronous)
    _speak_sqlite(readers, "BEGIN", synchronous)
    records = SqliteRecords(writer, readers)
    try:
        async with writer.begin() as connection:
            await connection.run_sync(metadata.create_all)
            version = await connection.scalar(select(meta.c.value).where(meta.c.key == "schema"))
            if version is None:
                await connection.execute(insert(meta).values(key="schema", value=str(SCHEMA_VERSION)))
            elif version != str(SCHEMA_VERSION):
                raise SchemaUnknown(f"the database has schema {version}, this version needs {SCHEMA_VERSION}")
    except DBAPIError as error:
        await writer.dispose()
        raise RecordsUnavailable("the database file can't be opened") from error
    return records


def _speak_sqlite(engine: AsyncEngine, begin: str, synchronous: str) -> None:
    """Make the engine's transactions begin as told, and set what each connection needs."""

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _: object) -> None:  # the driver's own type is private to SQLAlchemy's adapter
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "busy_timeout=30000", f"cache_size=-{CACHE_KIB}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin_as_told(connection: Connection) -> None:
        connection.exec_driver_sql(begin)
