from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.fence import Fence, fenced
from tests.support.picture_server import PictureServer


@pytest.fixture(autouse=True)
def fence() -> Iterator[Fence]:
    with fenced() as fence:
        yield fence


@pytest.fixture
async def server(fence: Fence) -> AsyncIterator[PictureServer]:
    async with PictureServer() as server:
        yield server
