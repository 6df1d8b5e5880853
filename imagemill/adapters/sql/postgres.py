"""PostgreSQL, through asyncpg under SQLAlchemy: any number of processes write side by side.

Units are READ COMMITTED and lock what they are about to change: batches in the order of their ids first, which makes
the rows of their items theirs as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy import Executable, RowMapping, Select, event, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from imagemill.adapters.sql.connection import NO_PARAMETERS
from imagemill.adapters.sql.postgres_trouble import place_of, telling
from imagemill.adapters.sql.postgres_unit import PostgresUnit
from imagemill.adapters.sql.revisions import Migrated, Tables, tables_of
from imagemill.adapters.sql.views import CHUNK, Chunk, Reading, SqlView
from imagemill.strikes import Point, strike

log = logging.getLogger(__name__)

CONNECT_S = 10.0
"""How long a connection may take to be made, and a unit may wait for a free one, in seconds."""
ANSWER_S = 75.0
"""How long an answer may take before the server counts as away, in seconds: longer than it lets a statement take."""
GOODBYE_S = 0.5
"""How long a connection may take to be closed in good order, in seconds; a server that hangs would take for ever."""
KEPT_S = 600
"""How long a connection is used, in seconds; firewalls forget those that are silent for long."""

_SESSION = {
    "application_name": "imagemill",
    # It would be compiled anew for statements that take a millisecond.
    "jit": "off",
}
_WRITING = _SESSION | {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    # A process that is stopped in the middle of a unit must not hold its batch for ever.
    "idle_in_transaction_session_timeout": "15s",
    # Every statement of a unit has its index. A plan made while the tables were small, or before the server has counted
    # their rows, would read a table that has grown since from end to end, each time.
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
}
_READING = _SESSION | {"statement_timeout": "60s", "default_transaction_read_only": "on"}
_MIGRATING = {"application_name": "imagemill migrate", "lock_timeout": "60s"}
_MIGRATION_LOCK = 0x1A6E311
"""The number of an advisory lock: any, as long as it stays."""
_NUL, _NUL_SHOWN = "\0", "\N{SYMBOL FOR NULL}"


class _PartingConnection(asyncpg.Connection):
    """A connection that can be closed whatever the server does."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the driver's own name
        """Close it; one that the server does not let go of in time is cut."""
        with suppress(TimeoutError):
            await super().close(timeout=GOODBYE_S)


class PostgresConnection:
    """See `adapters.sql.connection.Connection`."""

    def __init__(self, connection: AsyncConnection, place: str) -> None:
        self._connection = connection
        self._place = place

    async def rows(
        self, query: Executable, parameters: Mapping[str, Any] = NO_PARAMETERS, *, long: bool = False
    ) -> Sequence[RowMapping]:
        """All rows of a query, by column name."""
        async with _running(self._connection, self._place):
            return (await self._connection.execute(query, parameters)).mappings().all()

    async def change(
        self, statement: Executable, parameters: Mapping[str, Any] = NO_PARAMETERS, *, long: bool = False
    ) -> int:
        """Run a statement that returns nothing; the number of rows it matched."""
        async with _running(self._connection, self._place):
            return (await self._connection.execute(statement, parameters)).rowcount

    async def driver_rows(self, statement: str, parameters: tuple[Any, ...]) -> Sequence[Sequence[Any]]:
        """All rows of a query in the driver's wording."""
        async with _running(self._connection, self._place):
            driver = (await self._connection.get_raw_connection()).driver_connection
            assert isinstance(driver, asyncpg.Connection)
            if not driver.is_in_transaction():
                # SQLAlchemy begins the transaction with the first statement that it is told of.
                result = await self._connection.exec_driver_sql(statement, parameters)
                return result.all() if result.returns_rows else ()
            try:
                return await driver.fetch(statement, *storable(parameters))
            except BaseException as error:
                # As SQLAlchemy does: whoever was cancelled, or cut off, leaves the connection in an unknown state.
                if not isinstance(error, asyncpg.PostgresError) or driver.is_closed():
                    await self._connection.invalidate()
                raise

    async def driver_change(self, statement: str, parameters: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement in the driver's wording once for each of the parameters."""
        for each in parameters:
            await self.driver_rows(statement, each)

    async def commit(self) -> None:
        """Make what was written visible and durable."""
        async with _running(self._connection, self._place):
            strike(Point.UNIT_WRITTEN)
            await self._connection.commit()
            strike(Point.UNIT_COMMITTED)


class PostgresRecords(SqlView):
    """See `ports.records.Records`; open with `open_postgres`."""

    def __init__(self, url: str, connections: int) -> None:
        self._place = place_of(url)
        self._tables: Tables | None = None
        """Those that were seen to be fit to work on."""
        self._writing = _engine(url, connections, _WRITING, "READ COMMITTED", ANSWER_S)
        # A read is one statement, so that a transaction around it would be two more round trips for nothing.
        self._reading = _engine(url, connections, _READING, "AUTOCOMMIT", ANSWER_S)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[PostgresUnit]:
        """Open a unit. Raises `RecordsUnavailable` when the server is away, or another unit was in the way.

        When the connection is lost while it commits, the unit may have been written all the same.
        """
        async with self._known(self._writing) as connection:
            opened = PostgresConnection(connection, self._place)
            # Leaving without a commit rolls back.
            yield PostgresUnit(opened)
            await opened.commit()

    async def check(self) -> None:
        """See that the server is there, and that its tables can be worked on; else `SchemaUnknown`."""
        await self.tables()

    async def tables(self) -> Tables:
        """The tables as they are now; raises as `check` does."""
        async with self._connected(self._reading) as connection, _running(connection, self._place):
            tables = await connection.run_sync(tables_of, f"the database at {self._place}")
        if tables != self._tables and tables.remark:
            log.info("The database at %s %s.", self._place, tables.remark, extra={"action": "newer_tables"})
        self._tables = tables
        return tables

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(self._writing.dispose(), self._reading.dispose())

    async def _rows(self, query: Select[Any], parameters: Mapping[str, Any] = NO_PARAMETERS) -> Chunk:
        async with self._known(self._reading) as connection, _running(connection, self._place):
            rows: Chunk = (await connection.execute(query, parameters)).all()
            return rows

    async def _read_through(self, *readings: Reading) -> None:
        async with self._known(self._reading) as connection, _running(connection, self._place):
            # Of one moment: every statement sees what the first one saw.
            await connection.execution_options(isolation_level="REPEATABLE READ")
            for query, take in readings:
                async with connection.stream(query) as rows:
                    async for chunk in rows.partitions(CHUNK):
                        take(chunk)

    @asynccontextmanager
    async def _known(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection to tables that can be worked on."""
        if self._tables is None:
            await self.check()
        async with self._connected(engine) as connection:
            yield connection

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            with telling(self._place):
                connection = await stack.enter_async_context(engine.connect())
            yield connection


async def open_postgres(url: str, connections: int) -> PostgresRecords:
    """Open a database whose tables are there.

    The URL has the form postgresql://user:password@host:port/database; `sslmode` and other settings of libpq may follow
    as a query, and what is left out comes from the environment (PGPASSWORD, …) or ~/.pgpass. At most `connections`
    units and as many reads run at the same time.

    Raises:
        RecordsUnavailable: the server can't be used for the moment; the text says what is wrong.
        SchemaUnknown: its tables are missing, or those of another version.
        UrlUnusable: the URL can't be read.
    """
    records = PostgresRecords(url, connections)
    try:
        await records.check()
    except BaseException:
        await records.close()
        raise
    return records


async def postgres_tables(url: str) -> Tables:
    """The tables of a database, nothing of which is changed. Raises as `open_postgres` does."""
    records = PostgresRecords(url, 1)
    try:
        return await records.tables()
    finally:
        await records.close()


async def migrate_postgres(url: str) -> Migrated:
    """Bring a database to this version's tables; the database itself must be there.

    Whoever calls it at the same time waits, and finds it done. Raises as `open_postgres` does.
    """
    # Imported by nobody but who migrates: Alembic takes a while to load.
    from imagemill.adapters.sql.migration import upgrade

    place = place_of(url)
    engine = _engine(url, 1, _MIGRATING, "READ COMMITTED", answer_s=None)
    try:
        with telling(place):
            async with engine.begin() as connection:
                await connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                return await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


@asynccontextmanager
async def _running(connection: AsyncConnection, place: str) -> AsyncIterator[None]:
    """Tell of trouble with a statement; one whose answer never came leaves the connection unusable."""
    with telling(place):
        try:
            yield
        except TimeoutError:
            await connection.invalidate()
            raise


def _engine(
    url: str, connections: int, session: Mapping[str, str], isolation: str, answer_s: float | None
) -> AsyncEngine:
    # The driver reads the URL itself: it knows what libpq knows of it, and nothing in between holds the password.
    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(
            url,
            timeout=CONNECT_S,
            command_timeout=answer_s,
            server_settings=dict(session),
            connection_class=_PartingConnection,
        )

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        isolation_level=isolation,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=CONNECT_S,
        pool_recycle=KEPT_S,
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "before_cursor_execute", retval=True)
    def without_nul(
        _c: object, _cursor: object, statement: str, parameters: Any, _context: object, _many: bool
    ) -> tuple[str, Any]:
        return statement, storable(parameters)

    return engine


def storable(value: Any) -> Any:
    """A value as PostgreSQL takes it: its texts can't hold the character NUL, which a line of rubbish may well have."""
    match value:
        case str() if _NUL in value:
            return value.replace(_NUL, _NUL_SHOWN)
        case tuple():
            return tuple(storable(each) for each in value)
        case list() if any(isinstance(each, str) and _NUL in each for each in value):
            return [storable(each) for each in value]
    return value
