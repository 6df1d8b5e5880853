"""Hints of changes among all processes on one PostgreSQL server: LISTEN and NOTIFY on a connection of its own.

Nothing but the ids of batches travels, gathered for a moment, and never inside a transaction that writes items: a
transaction that notifies keeps all others that do waiting while it commits. What is announced while the server is away
is lost, as hints may be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg

from imagemill.ports.changes import Changes, Subscription

if TYPE_CHECKING:  # the driver's classes take a type of rows in its stubs alone
    from asyncpg.pool import PoolConnectionProxy

    _Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

CHANNEL = "imagemill_changes"
_TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""The last but one is what asyncpg says of a connection that was lost in the middle of an answer."""

PACE_S = 0.05
"""The least time between two notifications, in seconds: what is announced in between travels together."""
PROBE_S = 15.0
"""How long nothing is announced before the connection is tried, in seconds: a dead one may look alive."""
ANSWER_S = 5.0
"""How long the server may take to answer, in seconds."""
RETRY_S = 1.0
"""How long to wait before the next try to connect, in seconds."""
_NOTIFY = "SELECT pg_notify($1, told.id) FROM unnest($2::text[]) AS told(id)"

log = logging.getLogger(__name__)


class PostgresChanges:
    """See `ports.changes.Changes`; open with `open_postgres_changes`."""

    def __init__(self, url: str, near: Changes) -> None:
        self._url = url
        self._near = near
        self._untold: set[str] = set()
        self._woken = asyncio.Event()

    def announce(self, batch_ids: Iterable[str]) -> None:
        """Say that batches changed: here at once, elsewhere as soon as the server has passed it on."""
        ids = set(batch_ids)
        self._near.announce(ids)
        self._untold |= ids
        self._woken.set()

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """Begin to listen."""
        return self._near.subscribe()

    async def exchange(self) -> None:
        """Pass hints on in both directions, for ever, over as many connections as it takes."""
        away = False
        while True:
            try:
                async with self._listening() as connection:
                    if away:
                        log.info("Hints of changes travel again.", extra={"action": "hints_back"})
                        away = False
                    await self._tell(connection)
            except _TROUBLE as error:
                if not away:
                    log.warning(
                        "Hints of changes travel no more (%s); whoever waits for one looks by itself meanwhile.",
                        type(error).__name__,
                        extra={"action": "hints_away"},
                    )
                    away = True
                await asyncio.sleep(RETRY_S)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        settings = {"application_name": "imagemill hints"}
        connection = await asyncpg.connect(
            self._url, timeout=ANSWER_S, command_timeout=ANSWER_S, server_settings=settings
        )
        try:
            connection.add_termination_listener(lambda _: self._woken.set())
            await connection.add_listener(CHANNEL, self._heard)
            # What changed while nobody listened is known to whoever looks; telling it now would wake all for old news.
            self._untold.clear()
            yield connection
        finally:
            # In good order would mean to wait for a server that may be gone.
            connection.terminate()

    async def _tell(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_S):
                    await self._woken.wait()
            self._woken.clear()
            untold, self._untold = self._untold, set()
            # With nothing to tell it only sees whether the server is there.
            await connection.execute(_NOTIFY, CHANNEL, list(untold))
            await asyncio.sleep(PACE_S)

    def _heard(self, connection: _Connection, pid: int, _channel: str, batch_id: object) -> None:
        # What this process announced is known here already.
        if pid != connection.get_server_pid():
            self._near.announce([str(batch_id)])


@asynccontextmanager
async def open_postgres_changes(url: str, near: Changes) -> AsyncIterator[Changes]:
    """Exchange hints with the other processes for as long as the context lasts; a server that is away is awaited.

    `near` carries them inside this process.
    """
    changes = PostgresChanges(url, near)
    exchanging = asyncio.create_task(changes.exchange(), name="hints of changes")
    try:
        yield changes
    finally:
        exchanging.cancel()
        with suppress(asyncio.CancelledError):
            await exchanging
