"""A batch followed to its end, and the mill that goes away just then."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from io import StringIO
from typing import cast

import pytest

from imagemill.cli import watching
from imagemill.cli.display import PlainDisplay
from imagemill.cli.exits import ExitCode
from imagemill.cli.progress import RunProgress
from imagemill.cli.watching import follow
from imagemill.client import MillClient, MillUnreachable
from imagemill.client.errors import MillError
from imagemill.v1.batch_pb2 import Batch
from imagemill.v1.batch_service_pb2 import BatchReport, BatchUpdate

MILL = "127.0.0.1:9"
BATCH = Batch(name="batches/b", state=Batch.STATE_COMPLETED)


class RestartingMill:
    """A client of a mill that is away when it is asked for the report."""

    def __init__(self, *errors: MillError) -> None:
        self._errors = list(errors)

    async def watch(self, batch: Batch, **_: object) -> AsyncGenerator[BatchUpdate, None]:
        """Tell of the end."""
        yield BatchUpdate(kind=BatchUpdate.KIND_END, batch=batch)

    async def report(self, batch: Batch) -> BatchReport:
        """Fail as long as there are errors."""
        if self._errors:
            raise self._errors.pop(0)
        return BatchReport(batch=batch)


async def followed(mill: RestartingMill) -> tuple[ExitCode, str]:
    said = StringIO()
    display, progress = PlainDisplay(said), RunProgress(expected=0)
    display.start(progress)
    code = await follow(cast("MillClient", mill), BATCH, display, progress, MILL, as_json=False)
    return code, said.getvalue()


async def test_a_mill_that_restarts_as_its_batch_ends_is_waited_for() -> None:
    code, said = await followed(RestartingMill(MillUnreachable(MILL), MillUnreachable(MILL)))

    assert code is ExitCode.OK
    assert said.count("The mill does not answer") == said.count("The mill is back") == 1


async def test_a_refusal_of_the_report_is_not_asked_for_again() -> None:
    refusal = MillError("BATCH_NOT_FOUND", "There is no such batch.")

    with pytest.raises(MillError) as raised:
        await followed(RestartingMill(refusal, refusal))

    assert raised.value is refusal


async def test_a_mill_that_stays_away_is_asked_at_a_pace_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "GIVE_UP_AFTER_S", 0.2)
    errors = [MillUnreachable(MILL) for _ in range(1000)]
    mill = RestartingMill(*errors)

    with pytest.raises(MillUnreachable):
        await followed(mill)

    # With the least pauses that there can be: 0.05, 0.1 and what is left.
    assert len(errors) - len(mill._errors) <= 5
