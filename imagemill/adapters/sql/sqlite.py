"""SQLite: one writer at a time, readers beside it (WAL), the hot statements handed to the driver in one go.

Every unit that writes begins with BEGIN IMMEDIATE: a transaction that reads first and writes later fails as soon
as another one wrote in between. There is no SKIP LOCKED here; the one writer makes it needless.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, Select, create_engine, event, insert, inspect
from sqlalchemy.exc import DBAPIError

from imagemill.adapters.sql.connection import NO_PARAMETERS
from imagemill.adapters.sql.revisions import (
    COMPATIBLE_FROM,
    REVISION,
    Migrated,
    Tables,
    alembic_version,
    revision_of,
    tables_of,
)
from imagemill.adapters.sql.rows import FACT_COLUMNS, PROGRESS_COLUMNS, fact_values, progress_values
from imagemill.adapters.sql.schema import batches, compatibility, metadata
from imagemill.adapters.sql.threads import EngineThreads, Writer
from imagemill.adapters.sql.unit import SqlUnit
from imagemill.adapters.sql.views import CHUNK, Chunk, Reading, SqlView
from imagemill.domain.batches import Batch
from imagemill.domain.items import Facts, Head, State
from imagemill.ports.records import Claim, Move, NewItem, RecordsUnavailable, Twin

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 30.0
"""How long a unit waits for another process that writes, in seconds."""
READERS = 2
_REASONS = {
    sqlite3.SQLITE_BUSY: "another program keeps it locked",
    sqlite3.SQLITE_CANTOPEN: "it can't be reached or made there",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk has failed",
    sqlite3.SQLITE_NOTADB: "it is no database, or damaged",
    sqlite3.SQLITE_PERM: "it can't be written by this user, or was moved away",
    sqlite3.SQLITE_READONLY: "it can't be written by this user, or was moved away",
}
CACHE_KIB = 1024
"""Pages that each connection keeps, in KiB: what is hot is the small end of the indexes, the rest is read once."""

_INSERT = (
    "INSERT INTO items (batch_id, idx, source, source_row, host, state, revision, finished_at, error_code, "
    "error_message) VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
)
_EXISTING = "SELECT idx FROM items WHERE batch_id=? AND idx IN (SELECT value FROM json_each(?))"
# CROSS JOIN keeps the order: each of the keys is looked up.
_HEADS = (
    "SELECT items.batch_id, idx, state, attempt, claims FROM json_each(?) AS sought CROSS JOIN items "
    "ON items.batch_id=json_extract(sought.value, '$[0]') AND idx=json_extract(sought.value, '$[1]')"
)
_SAVE = f"UPDATE batches SET {', '.join(f'{column}=?' for column in PROGRESS_COLUMNS)} WHERE id=?"
_MOVE = (
    "UPDATE items SET state=?, attempt=?, claims=?, due_at=MAX(due_at*?, ?), heard_at=MAX(heard_at, ?), revision=?, "
    "finished_at=?"
)
_WHERE = " WHERE batch_id=? AND idx=?"
_MOVE_WITH_FACTS = _MOVE + "".join(f", {column}=?" for column in FACT_COLUMNS) + _WHERE
_CLAIM = "UPDATE items SET state=?, attempt=?, claims=?, due_at=?, heard_at=?, claim_token=?, revision=?" + _WHERE
_TWINS = (
    "SELECT idx, sha256, duplicate_of FROM items "
    f"WHERE batch_id=? AND state={State.SUCCEEDED.value} AND sha256 IN (SELECT value FROM json_each(?)) "
    "ORDER BY sha256, idx"
)
_OF_DIGEST = f"FROM items WHERE batch_id=sought.batch AND state={State.SUCCEEDED.value} AND sha256=sought.digest"
_FIRST_TWINS = (
    f"SELECT batch, digest, (SELECT MIN(idx) {_OF_DIGEST}), (SELECT idx {_OF_DIGEST} ORDER BY idx LIMIT 1 OFFSET 1) "
    "FROM (SELECT json_extract(value, '$[0]') AS batch, json_extract(value, '$[1]') AS digest FROM json_each(?)) sought"
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
            await self._connection.driver_change(_INSERT, rows)
        return {item.index for item in new}

    async def save_batches(self, batches: Collection[Batch]) -> None:
        """Write what changes of several batches."""
        rows = [(*progress_values(batch).values(), batch.id) for batch in batches]
        await self._connection.driver_change(_SAVE, rows)

    async def heads_of(self, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], Head]:
        """The heads of the items that exist, by batch id and index."""
        rows = await self._connection.driver_rows(_HEADS, (json.dumps(list(keys)),))
        return {(batch_id, index): Head(State(state), *rest) for batch_id, index, state, *rest in rows}

    async def move_items(self, moves: Sequence[Move]) -> None:
        """Write moves: those with facts and those without."""
        plain = [_move_values(move) for move in moves if move.facts is None]
        full = [_move_values(move, move.facts) for move in moves if move.facts is not None]
        if plain:
            await self._connection.driver_change(_MOVE + _WHERE, plain)
        if full:
            await self._connection.driver_change(_MOVE_WITH_FACTS, full)

    async def first_twins_of(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
        """The lowest indexes, two at most, of succeeded items with each digest: two steps into the index a digest."""
        rows = await self._connection.driver_rows(_FIRST_TWINS, (json.dumps(list(keys)),))
        return {
            (batch_id, digest): [first] if second is None else [first, second]
            for batch_id, digest, first, second in rows
            if first is not None
        }

    async def twins(self, batch_id: str, digests: Collection[str]) -> list[Twin]:
        """The succeeded items with these digests, by digest and index."""
        if not digests:
            return []
        return [Twin(*row) for row in await self._rows(_TWINS, batch_id, sorted(digests))]

    async def point_duplicates(self, batch_id: str, changes: Sequence[tuple[int, int | None, int]]) -> None:
        """Write (index, duplicate_of, revision)."""
        if changes:
            rows = [(twin, revision, batch_id, index) for index, twin, revision in changes]
            await self._connection.driver_change(_POINT, rows)

    async def claim(self, claim: Claim, batch_id: str, items: Sequence[tuple[int, Head, int]], now: float) -> None:
        """Write (index, head, revision) of claimed items."""
        await self._connection.driver_change(
            "INSERT INTO claims (token, epoch, claimed_at) VALUES (?,?,?) ON CONFLICT DO NOTHING",
            [(claim.token, claim.epoch, now)],
        )
        rows = [
            (
                head.state.value,
                head.attempt,
                head.claims,
                claim.lease_until,
                now,
                claim.token,
                revision,
                batch_id,
                index,
            )
            for index, head, revision in items
        ]
        await self._connection.driver_change(_CLAIM, rows)

    async def _rows(self, statement: str, batch_id: str, values: Sequence[object]) -> Sequence[Any]:
        return await self._connection.driver_rows(statement, (batch_id, json.dumps(values)))


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
        head.state.value, head.attempt, head.claims, keeps_lease, move.due_at, move.heard_at,
        move.revision, move.finished_at,
        *(fact_values(facts) if facts is not None else ()),
        move.batch_id, move.index,
    )  # fmt: skip


class SqliteRecords(SqlView):
    """See `ports.records.Records`; open with `open_sqlite`."""

    def __init__(self, writer: Writer, readers: EngineThreads) -> None:
        self._writer = writer
        self._readers = readers

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqliteUnit]:
        """Open a unit. Raises `RecordsUnavailable` when the file is locked for too long or the disk is full."""
        try:
            async with self._writer.transaction() as connection:
                yield SqliteUnit(connection)
        except DBAPIError as error:
            raise RecordsUnavailable(f"the database file could not be written: {_reason(error)}") from error

    async def check(self) -> None:
        """Read something."""
        await self.batch("")

    async def close(self) -> None:
        """Let go of the file; the last connection to it folds the write-ahead log into it."""
        await self._readers.close()
        await self._writer.close()

    async def _rows(self, query: Select[Any], parameters: Mapping[str, Any] = NO_PARAMETERS) -> Chunk:
        with _telling("could not be read"):
            return await self._readers.read(query, parameters)

    async def _read_through(self, *readings: Reading) -> None:
        with _telling("could not be read"):
            await self._readers.read_through(readings, CHUNK)


@contextmanager
def _telling(trouble: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise RecordsUnavailable(f"the database file {trouble}: {_reason(error)}") from error


def _reason(error: DBAPIError) -> str:
    # The lower byte is the kind of trouble, what is above tells more of it (sqlite.org/rescode.html).
    code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return _REASONS.get(code, "SQLite refuses it")


async def open_sqlite(path: Path, *, survive_power_loss: bool = False) -> SqliteRecords:
    """Open or create the database file; an older one is brought to this version's tables.

    A commit survives the death of any process; with `survive_power_loss` also that of the machine.

    Raises:
        RecordsUnavailable: the file can't be opened, or is no database.
        SchemaUnknown: it was made by a newer version.
    """
    records, migrated = await _opened(path, survive_power_loss)
    if remark := migrated.tables.remark:
        log.info("The database file %s.", remark, extra={"action": "newer_tables"})
    return records


async def migrate_sqlite(path: Path) -> Migrated:
    """Bring a database file to this version's tables, or create it. Raises as `open_sqlite` does."""
    records, migrated = await _opened(path, survive_power_loss=True)
    await records.close()
    return migrated


async def sqlite_tables(path: Path) -> Tables:
    """The tables of a database file as it lies there. Raises as `open_sqlite` does."""
    engine = _engine(path, 1, "BEGIN", "NORMAL")

    def look() -> Tables:
        with engine.connect() as connection:
            return tables_of(connection)

    readers = EngineThreads(engine, 1, "sqlite-reader")
    try:
        with _telling("can't be opened"):
            return await readers.run(look)
    finally:
        await readers.close()


async def _opened(path: Path, survive_power_loss: bool) -> tuple[SqliteRecords, Migrated]:
    synchronous = "FULL" if survive_power_loss else "NORMAL"
    writing = _engine(path, 1, "BEGIN IMMEDIATE", synchronous)
    reading = _engine(path, READERS, None, synchronous)
    records = SqliteRecords(Writer(writing), EngineThreads(reading, READERS, "sqlite-reader"))
    try:
        with _telling("can't be opened"):
            return records, await records._writer.run(_prepare)
    except BaseException:
        await records.close()
        raise


def _prepare(connection: Connection) -> Migrated:
    """Make the tables such as this version can work on."""
    before = revision_of(connection)
    if before is not None and before >= REVISION:
        return Migrated(before, tables_of(connection))
    if before is None and not inspect(connection).has_table(batches.name):
        metadata.create_all(connection)
        alembic_version.create(connection)
        connection.execute(insert(alembic_version).values(version_num=REVISION))
        connection.execute(insert(compatibility).values(revision=REVISION, compatible_from=COMPATIBLE_FROM))
        return Migrated(None, Tables(REVISION, COMPATIBLE_FROM))
    # Most starts have nothing to migrate, and Alembic takes a while to load.
    from imagemill.adapters.sql.migration import upgrade

    return upgrade(connection)


def _engine(path: Path, connections: int, begin: str | None, synchronous: str) -> Engine:
    """An engine whose transactions begin as told, if at all, with what each connection needs."""
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        connect_args={"timeout": LONGEST_WAIT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", f"cache_size=-{CACHE_KIB}"):
            connection.execute(f"PRAGMA {pragma}")

    if begin is not None:
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine
