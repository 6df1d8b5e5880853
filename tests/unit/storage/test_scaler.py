"""KEDA's protocol, spoken by a client of it over a socket, against real rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from imagemill.adapters.sql.sqlite import SqliteRecords
from imagemill.domain.batches import BatchState
from imagemill.domain.items import State
from imagemill.keda import externalscaler_pb2 as keda
from imagemill.keda.externalscaler_pb2_grpc import ExternalScalerStub, add_ExternalScalerServicer_to_server
from imagemill.ports.records import Backlog, RecordsUnavailable
from imagemill.runtime.serving import dial, serve_grpc
from storage_svc import scaler
from storage_svc.control import set_state
from storage_svc.fold import fold
from storage_svc.scaler import NAME, Scaler, Stage, work_before
from tests.support.builders import claim_rows, event, new_batch, new_items, put_batch
from tests.unit.runtime.serving import fields_of, reason_of

if TYPE_CHECKING:  # a type of the stubs alone
    from imagemill.keda.externalscaler_pb2_grpc import ExternalScalerAsyncStub

NOW = 100.0


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaler, "LOOK_S", 0.01)
    monkeypatch.setattr(scaler, "FRESH_S", 0.0)


@pytest.fixture
async def client(records: SqliteRecords, tmp_path: Path) -> AsyncIterator[ExternalScalerAsyncStub]:
    target = f"unix:{tmp_path}/storage.sock"

    def register(server: grpc.aio.Server) -> None:
        add_ExternalScalerServicer_to_server(Scaler(records), server)

    async with serve_grpc(target, (NAME,), register), dial(target) as channel:
        yield ExternalScalerStub(channel)


def trigger(stage: str = "download", **metadata: str) -> keda.ScaledObjectRef:
    told = {"scalerAddress": "imagemill-storage:50052", "stage": stage, "itemsPerReplica": "200"} | metadata
    return keda.ScaledObjectRef(name="a-scaled-object", namespace="imagemill", scalerMetadata=told)


async def figure(client: ExternalScalerAsyncStub, stage: str) -> float:
    """What KEDA makes of an answer."""
    (spec,) = (await client.GetMetricSpec(trigger(stage))).metricSpecs
    request = keda.GetMetricsRequest(scaledObjectRef=trigger(stage), metricName=spec.metricName)
    (value,) = (await client.GetMetrics(request)).metricValues
    assert value.metricName == spec.metricName
    assert value.metricValue == value.metricValueFloat
    return value.metricValueFloat


async def test_the_path_is_the_one_that_keda_calls(client: ExternalScalerAsyncStub, tmp_path: Path) -> None:
    async with dial(f"unix:{tmp_path}/storage.sock") as channel:
        call: Any = channel.unary_unary("/externalscaler.ExternalScaler/IsActive")
        # The message as KEDA writes it: field 3, a map entry of key and value.
        entry = b"\x0a\x05stage\x12\x08download"
        assert await call(b"\x1a" + bytes([len(entry)]) + entry) == b""


async def test_the_target_is_what_the_trigger_says(client: ExternalScalerAsyncStub) -> None:
    for stage in ("download", "process"):
        answer = await client.GetMetricSpec(trigger(stage, itemsPerReplica="37"))

        (spec,) = answer.metricSpecs
        assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == (f"imagemill-{stage}-backlog", 37, 37.0)


async def test_the_figures_follow_the_items_from_stage_to_stage(
    client: ExternalScalerAsyncStub, records: SqliteRecords
) -> None:
    assert [await figure(client, stage) for stage in Stage] == [0, 0]
    await put_batch(records, new_batch(), new_items(range(10)))
    assert [await figure(client, stage) for stage in Stage] == [10, 0]
    await claim_rows(records, range(4))
    assert [await figure(client, stage) for stage in Stage] == [10, 0]
    await fold(records, [event(index, State.PROCESSING) for index in range(3)], NOW)
    assert [await figure(client, stage) for stage in Stage] == [3, 8]  # 1 of 4 and 3 of 4 of the six that wait
    await fold(records, [event(index, State.SUCCEEDED) for index in range(4)], NOW)
    assert [await figure(client, stage) for stage in Stage] == [6, 0]
    await set_state(records, "b", BatchState.PAUSED, NOW)
    assert [await figure(client, stage) for stage in Stage] == [0, 0]


@pytest.mark.parametrize(
    ("backlog", "download", "process"),
    [
        (Backlog(), 0, 0),
        (Backlog(to_download=7, to_render=5), 7, 5),
        (Backlog(to_download=1_000, downloading=256), 1_256, 0),
        (Backlog(to_download=1_000, downloading=50, rendering=150), 300, 900),
        (Backlog(to_render=90, rendering=10), 0, 100),
        (Backlog(downloading=3, rendering=4), 3, 4),
    ],
)
def test_what_is_not_claimed_counts_where_it_would_have_to_wait(backlog: Backlog, download: int, process: int) -> None:
    assert (work_before(Stage.DOWNLOAD, backlog), work_before(Stage.PROCESS, backlog)) == (download, process)


async def test_activity_is_told_at_once_and_at_each_change(
    client: ExternalScalerAsyncStub, records: SqliteRecords
) -> None:
    call = client.StreamIsActive(trigger())
    stream = aiter(call)

    assert not (await anext(stream)).result
    assert not (await client.IsActive(trigger())).result
    await put_batch(records, new_batch(), new_items(range(2)))
    assert (await anext(stream)).result
    assert (await client.IsActive(trigger())).result
    assert not (await client.IsActive(trigger("process"))).result
    await set_state(records, "b", BatchState.PAUSED, NOW)
    assert not (await anext(stream)).result
    call.cancel()


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"stage": "upload"}, "scaler_metadata.stage"),
        ({"stage": ""}, "scaler_metadata.stage"),
        ({"itemsPerReplica": "0"}, "scaler_metadata.itemsPerReplica"),
        ({"itemsPerReplica": "ten"}, "scaler_metadata.itemsPerReplica"),
        ({"itemsPerReplica": "9" * 5_000}, "scaler_metadata.itemsPerReplica"),
        ({"itemsPerReplica": ""}, "scaler_metadata.itemsPerReplica"),
    ],
)
async def test_a_trigger_that_is_wrong_hears_what_is_wrong(
    client: ExternalScalerAsyncStub, metadata: dict[str, str], field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.GetMetricSpec(trigger(**metadata))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(fields_of(refused.value)) == [field]


async def test_a_metric_of_another_name_is_refused(client: ExternalScalerAsyncStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.GetMetrics(keda.GetMetricsRequest(scaledObjectRef=trigger(), metricName="queue-length"))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_while_the_database_is_away_keda_hears_that_nothing_is_known(
    client: ExternalScalerAsyncStub, records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(now: float, limit: int) -> Backlog:
        raise RecordsUnavailable("the database does not answer")

    monkeypatch.setattr(records, "backlog", away)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.IsActive(trigger())

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(refused.value) == "PART_UNAVAILABLE"
    assert "database" not in (refused.value.details() or "")


async def test_questions_that_come_together_are_one_for_the_database(
    client: ExternalScalerAsyncStub, records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[float] = []

    async def backlog(now: float, limit: int) -> Backlog:
        counted.append(now)
        return Backlog(to_download=5)

    monkeypatch.setattr(scaler, "FRESH_S", 3600.0)
    monkeypatch.setattr(records, "backlog", backlog)
    answers = await asyncio.gather(*(client.IsActive(trigger(stage)) for stage in (*Stage, *Stage)))

    assert [answer.result for answer in answers] == [True, False, True, False]
    assert await figure(client, "download") == 5
    assert len(counted) == 1
