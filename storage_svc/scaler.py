"""What KEDA asks of the store: how much work each kind of worker has before it.

The queues hold only a window of the work, so their length says nothing of a batch of a million. The rows know.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum

from imagemill.keda import externalscaler_pb2 as keda
from imagemill.keda.externalscaler_pb2_grpc import ExternalScalerServicer
from imagemill.ports.records import Backlog, Records
from imagemill.runtime.calls import CallError, Context, invalid

NAME = "externalscaler.ExternalScaler"
MOST = 50_000
"""Items that are counted at most, due and in flight each: more of them would ask for no more workers."""
LOOK_S = 5.0
"""How often to look whether there is work, in seconds, while KEDA waits to be told."""
FRESH_S = 2.0
"""For how long figures are good, in seconds: KEDA asks for the same ones several times in a row, for each trigger."""
_STAGE, _ITEMS = "stage", "itemsPerReplica"


class Stage(StrEnum):
    """What workers of a kind do with an item."""

    DOWNLOAD = "download"
    PROCESS = "process"


def work_before(stage: Stage, backlog: Backlog) -> int:
    """The number of items that wait for a stage or are in it.

    What is due and not yet claimed has to pass both stages. It counts where it would have to wait: by the shares that
    the stages have of what is in flight. So a mill whose pictures pile up behind slow downloads asks for downloaders,
    and not for processors that would have nothing to do.
    """
    in_stage = backlog.downloading if stage is Stage.DOWNLOAD else backlog.rendering
    in_flight = backlog.downloading + backlog.rendering
    if not in_flight:
        return backlog.to_download if stage is Stage.DOWNLOAD else backlog.to_render
    due = backlog.to_download + backlog.to_render
    return in_stage + math.ceil(due * in_stage / in_flight)


class Scaler(ExternalScalerServicer):
    """Answers KEDA's triggers, which say `stage: download` or `stage: process`, and how many `itemsPerReplica`."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._backlog = Backlog()
        self._counted_at = -math.inf
        self._counting = asyncio.Lock()

    async def IsActive(self, request: keda.ScaledObjectRef, context: Context) -> keda.IsActiveResponse:
        """Whether there is work."""
        return keda.IsActiveResponse(result=await self._work(_stage(request)) > 0)

    async def StreamIsActive(
        self, request: keda.ScaledObjectRef, context: Context
    ) -> AsyncIterator[keda.IsActiveResponse]:
        """Whether there is work, at once and at each change."""
        stage, told = _stage(request), None
        while True:
            if (active := await self._work(stage) > 0) is not told:
                yield keda.IsActiveResponse(result=active)
                told = active
            await asyncio.sleep(LOOK_S)

    async def GetMetricSpec(self, request: keda.ScaledObjectRef, context: Context) -> keda.GetMetricSpecResponse:
        """How many items one replica shall have before it."""
        items = _items_per_replica(request)
        spec = keda.MetricSpec(metricName=_metric(_stage(request)), targetSize=items, targetSizeFloat=items)
        return keda.GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(self, request: keda.GetMetricsRequest, context: Context) -> keda.GetMetricsResponse:
        """How many items there are."""
        stage = _stage(request.scaledObjectRef)
        if request.metricName not in ("", _metric(stage)):
            raise invalid(
                f"A trigger of stage {stage} has the metric {_metric(stage)!r} only.", ("metric_name", "it is unknown")
            )
        work = await self._work(stage)
        value = keda.MetricValue(metricName=_metric(stage), metricValue=work, metricValueFloat=work)
        return keda.GetMetricsResponse(metricValues=[value])

    async def _work(self, stage: Stage) -> int:
        async with self._counting:
            if time.monotonic() - self._counted_at >= FRESH_S:
                self._backlog = await self._records.backlog(time.time(), MOST)
                self._counted_at = time.monotonic()
        return work_before(stage, self._backlog)


def _metric(stage: Stage) -> str:
    return f"imagemill-{stage}-backlog"


def _stage(trigger: keda.ScaledObjectRef) -> Stage:
    try:
        return Stage(trigger.scalerMetadata.get(_STAGE, ""))
    except ValueError:
        raise _wrong(_STAGE, f"give {' or '.join(Stage)}") from None


def _items_per_replica(trigger: keda.ScaledObjectRef) -> int:
    metadata: Mapping[str, str] = trigger.scalerMetadata
    given = metadata.get(_ITEMS, "")
    if not (given.isascii() and given.isdecimal() and 1 <= int(given[:10]) <= 1_000_000):
        raise _wrong(_ITEMS, "give a whole number from 1 to 1,000,000")
    return int(given)


def _wrong(key: str, what: str) -> CallError:
    return invalid(f"The trigger's metadata is wrong: {key}: {what}.", (f"scaler_metadata.{key}", what))
