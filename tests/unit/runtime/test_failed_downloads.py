"""What a stage reports of a download that came to nothing."""

from __future__ import annotations

from imagemill.domain.failures import FailureCode, PermanentError
from imagemill.domain.items import Timings
from imagemill.runtime.stage import Outcome
from tests.unit.runtime.working import Job, Workshop, message


async def test_a_download_that_failed_tells_how_long_it_took() -> None:
    async def handler(job: Job) -> Outcome[str]:
        error = PermanentError(FailureCode.SOURCE_NOT_FOUND, "Gone.", http_status=404)
        error.download_ms = 42.5
        raise error

    shop = Workshop(handler=handler)
    await shop.put(message("b", 0))
    async with shop.open():
        await shop.until_started(0)

    (event,) = await shop.events()
    assert event.facts.timings == Timings(download_ms=42.5)
