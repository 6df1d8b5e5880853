"""Statements that a cancelled caller does not tear.

A cancellation in the middle of a statement leaves the driver's thread at work on a connection that the pool takes
for idle: its transaction stays open, and with it SQLite's write lock, until somebody times out. So every statement
runs to its end, and only then the cancellation goes on; the unit around it is rolled back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; when cancelled meanwhile, wait for its end all the same and raise `CancelledError` then."""
    task = asyncio.ensure_future(work)
    cancelled = await _outlast(task)
    if cancelled is not None:
        task.exception()  # looked at, so that nobody complains of it
        raise cancelled
    return task.result()


async def _outlast(task: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait until `task` is done, whatever comes; the cancellation that came."""
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


@asynccontextmanager
async def steady_transaction(engine: AsyncEngine) -> AsyncIterator[SteadyConnection]:
    """A transaction that is committed when the context ends, and rolled back when it ends with an error."""
    opening = asyncio.ensure_future(_begin(engine))
    cancelled = await _outlast(opening)
    connection, transaction = opening.result()
    try:
        if cancelled is not None:
            raise cancelled
        yield SteadyConnection(connection)
    except BaseException:
        await to_the_end(_close(connection, transaction.rollback()))
        raise
    await to_the_end(_close(connection, transaction.commit()))


async def _begin(engine: AsyncEngine) -> tuple[AsyncConnection, AsyncTransaction]:
    connection = await engine.connect()
    try:
        return connection, await connection.begin()
    except BaseException:
        await connection.close()
        raise


async def _close(connection: AsyncConnection, ending: Coroutine[Any, Any, None]) -> None:
    try:
        await ending
    finally:
        await connection.close()


class SteadyConnection:
    """A connection inside a transaction, each statement of which runs to its end."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable) -> CursorResult[Any]:
        """Run a statement; the result is buffered."""
        return await to_the_end(self._connection.execute(statement))

    async def scalar(self, statement: Executable) -> Any:  # any column's type
        """The first column of the first row, or None."""
        return (await self.execute(statement)).scalar()

    async def scalars(self, statement: Executable) -> Sequence[Any]:  # any column's type
        """The first column of every row."""
        return (await self.execute(statement)).scalars().all()

    async def exec_driver_sql(self, statement: str, parameters: Any = None) -> CursorResult[Any]:  # the driver's own
        """Run a statement in the driver's wording, once, or once for each of a list of parameters."""
        return await to_the_end(self._connection.exec_driver_sql(statement, parameters))
