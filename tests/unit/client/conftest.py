from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagemill.client import MillClient
from tests.unit.client.fake_mill import FakeMill, serving


@pytest.fixture
async def mill(tmp_path: Path) -> AsyncIterator[FakeMill]:
    async with serving(tmp_path) as fake:
        yield fake


@pytest.fixture
async def client(mill: FakeMill) -> AsyncIterator[MillClient]:
    async with MillClient(mill.target) as connected:
        yield connected
