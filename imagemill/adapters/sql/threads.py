"""SQLAlchemy's synchronous core on threads of its own, for a database that is a library.

What may take its time (waiting for the lock, syncing a commit, reading many rows) is one hop to a thread and back;
aiosqlite makes four of each, and each wakes two threads. A hop is always waited for: a cancellation in the middle of
it would leave a statement at work on a connection that counts as idle.

The short statements in between run where they are asked for. They take less than a hop, and far less than a thread
that has to win the interpreter back at each row from a loop that is busy: about half the CPU of a unit, and of its
time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, Row, RowMapping

from imagemill.adapters.sql.connection import NO_PARAMETERS
from imagemill.strikes import Point, strike

T = TypeVar("T")

SHORT = 300
"""Rows that are written where they are asked for: a few milliseconds."""


class EngineThreads:
    """Runs functions on the threads that an engine's connections belong to."""

    def __init__(self, engine: Engine, threads: int, name: str) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, function: Callable[[], T], give_up: Callable[[], None] | None = None) -> T:
        """Run a function to its end, even when the caller is cancelled meanwhile; `give_up` then makes it shorter."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, function)
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait((future,))
            except asyncio.CancelledError as error:
                cancelled = error
                if give_up is not None:
                    give_up()
        if cancelled is not None:
            future.exception()  # looked at, so that nobody complains of it
            raise cancelled
        return future.result()

    async def read(
        self, query: Executable, parameters: Mapping[str, Any] = NO_PARAMETERS
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """All rows of a query; a transaction around it would be two more statements for nothing."""

        def read() -> Sequence[Row[*tuple[Any, ...]]]:
            with self._engine.connect() as connection:
                return connection.execute(query, parameters).all()

        return await self.run(read)

    async def read_through(
        self, readings: Iterable[tuple[Executable, Callable[[Sequence[Row[*tuple[Any, ...]]]], None]]], chunk: int
    ) -> None:
        """Hand the rows of each query to its taker in chunks, on the thread, in one transaction."""
        given_up = threading.Event()

        def read() -> None:
            with self._engine.connect() as connection:
                # Of one moment: every statement sees what the first one saw.
                connection.exec_driver_sql("BEGIN")
                for query, take in readings:
                    for rows in connection.execute(query).partitions(chunk):
                        if given_up.is_set():
                            return
                        take(rows)

        await self.run(read, given_up.set)

    async def close(self) -> None:
        """Close the connections and end the threads."""
        await self.run(self._engine.dispose)
        self._threads.shutdown(wait=False)


class Writer:
    """The one connection that writes; units follow one another in the order in which they ask."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = EngineThreads(engine, 1, "sqlite-writer")
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WriterConnection]:
        """A transaction, committed when the context ends and rolled back when it ends with an error."""
        async with self._turn:
            opened: list[Connection] = []
            try:
                await self._threads.run(lambda: opened.append(_begin(self._engine)))
                yield WriterConnection(self._threads, opened[0])
                await self._threads.run(lambda: _commit(opened.pop()))
            finally:
                # Closing rolls back what was not committed.
                if opened:
                    await self._threads.run(opened[0].close)

    async def run(self, function: Callable[[Connection], T]) -> T:
        """Run a function in a transaction of its own."""

        def whole() -> T:
            with self._engine.begin() as connection:
                return function(connection)

        return await self._threads.run(whole)

    async def close(self) -> None:
        """Close the connection and end the thread."""
        await self._threads.close()


def _begin(engine: Engine) -> Connection:
    connection = engine.connect()
    try:
        connection.begin()
    except BaseException:
        connection.close()
        raise
    return connection


def _commit(connection: Connection) -> None:
    try:
        strike(Point.UNIT_WRITTEN)
        connection.commit()
        strike(Point.UNIT_COMMITTED)
    finally:
        connection.close()


class WriterConnection:
    """See `adapters.sql.connection.Connection`."""

    def __init__(self, threads: EngineThreads, connection: Connection) -> None:
        self._threads = threads
        self._connection = connection

    async def rows(
        self, query: Executable, parameters: Mapping[str, Any] = NO_PARAMETERS, *, long: bool = False
    ) -> Sequence[RowMapping]:
        """All rows of a query, by column name."""
        return await self._run(lambda: self._connection.execute(query, parameters).mappings().all(), long)

    async def change(
        self, statement: Executable, parameters: Mapping[str, Any] = NO_PARAMETERS, *, long: bool = False
    ) -> int:
        """Run a statement that returns nothing; the number of rows it matched."""
        return await self._run(lambda: self._connection.execute(statement, parameters).rowcount, long)

    async def driver_rows(self, statement: str, parameters: tuple[Any, ...]) -> Sequence[Row[*tuple[Any, ...]]]:
        """All rows of a query in the driver's wording."""
        return self._connection.exec_driver_sql(statement, parameters).all()

    async def driver_change(self, statement: str, parameters: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement in the driver's wording once for each of the parameters."""
        rows = list(parameters)
        await self._run(lambda: self._connection.exec_driver_sql(statement, rows), len(rows) > SHORT)

    async def _run(self, function: Callable[[], T], long: bool) -> T:
        return await self._threads.run(function) if long else function()
