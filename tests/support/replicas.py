"""Several stores on one database, as several storage processes have them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from imagemill.adapters.sql.postgres import PostgresRecords, open_postgres


@asynccontextmanager
async def replicas(url: str, number: int) -> AsyncIterator[list[PostgresRecords]]:
    """As many storage processes have a store each: what one knows of another goes through the server."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(number):
            opened.append(await open_postgres(url, 2))
            stack.push_async_callback(opened[-1].close)
        yield opened
