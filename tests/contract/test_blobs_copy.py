"""The promise O7 of `imagemill.ports.blobs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.domain.failures import FailureCode, PipelineError
from imagemill.ports.blobs import Blobs
from tests.contract.test_blobs import content_of
from tests.support.builders import digest

KEY = f"batches/b1/undecodable/{digest(1)}"


@pytest.mark.parametrize("size", [0, 3, 3_000_000])
async def test_o7_a_copy_has_the_bytes_that_were_asked_for_and_the_file_stays(
    size: int, blobs: Blobs, tmp_path: Path
) -> None:
    source = tmp_path / "reused"
    source.write_bytes(bytes(range(256)) * 20_000)

    await blobs.copy(source, size, KEY)

    assert await content_of(blobs, KEY) == source.read_bytes()[:size]
    assert source.stat().st_size == 256 * 20_000
    assert list(blobs.keys("batches/b1/")) == [KEY]


@pytest.mark.parametrize("there", [b"", b"two", None])
async def test_o7_a_file_that_is_too_short_or_gone_becomes_no_blob(
    there: bytes | None, blobs: Blobs, tmp_path: Path
) -> None:
    source = tmp_path / "reused"
    if there is not None:
        source.write_bytes(there)

    with pytest.raises(PipelineError) as raised:
        await blobs.copy(source, 4, KEY)

    assert raised.value.failure.code is FailureCode.STORE_UNAVAILABLE
    assert not await blobs.contains([KEY])
    assert not list(blobs.scratch().parent.iterdir())
