"""A real store in a temporary file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagemill.adapters.sql.sqlite import SqliteRecords, open_sqlite


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[SqliteRecords]:
    opened = await open_sqlite(tmp_path / "mill.db")
    yield opened
    await opened.close()
