"""The services, started as the manifests start them, answer the probes as the kubelet asks them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagemill.keda.externalscaler_pb2 import ScaledObjectRef
from imagemill.keda.externalscaler_pb2_grpc import ExternalScalerStub
from tests.deploy.manifests import SERVICES, Manifests, built
from tests.support.cluster import free_ports
from tests.support.processes import Program

IMAGEMILL = str(Path(sys.executable).with_name("imagemill"))
START_S = 40.0
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def manifests() -> Manifests:
    return built("local")


@pytest.fixture(scope="module")
def ports() -> Mapping[str, int]:
    names = [*SERVICES, *(f"{service} metrics" for service in SERVICES), "nobody"]
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture(scope="module")
def started(
    manifests: Manifests, ports: Mapping[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Program]]:
    """All four with the environments of their pods, but on this machine, with nobody at the broker and the database."""
    folder = tmp_path_factory.mktemp("services")
    with ExitStack() as stack:
        programs = {service: start(manifests, ports, service, folder) for service in SERVICES}
        for program in programs.values():
            stack.callback(program.destroy)
        yield programs


def start(manifests: Manifests, ports: Mapping[str, int], service: str, folder: Path) -> Program:
    """Start a service as its pod does; pictures lie below `folder`."""
    nobody = f"127.0.0.1:{ports['nobody']}"
    here = {
        "IMAGEMILL_LISTEN": f"127.0.0.1:{ports[service]}",
        "IMAGEMILL_METRICS_LISTEN": f"127.0.0.1:{ports[f'{service} metrics']}",
        "IMAGEMILL_STORAGE_TARGET": f"127.0.0.1:{ports['storage']}",
        "IMAGEMILL_BROKER_URL": f"amqp://mill:placeholder@{nobody}/",
        "IMAGEMILL_DATABASE_URL": f"postgresql://mill:placeholder@{nobody}/mill",
        "IMAGEMILL_BLOB_URL": f"file://{folder / 'volume' / 'blobs'}",
    }
    environment = manifests.environment(service)
    told = {name: here.get(name, value) for name, value in environment.items()}
    return Program([IMAGEMILL, *manifests.pods[service].container["args"]], folder, environment=told)


def probe(manifests: Manifests, ports: Mapping[str, int], service: str, kind: str) -> Any:
    """What a probe hears; None while nothing answers."""
    asked = manifests.pods[service].container[kind]["grpc"].get("service", "")
    with grpc.insecure_channel(f"127.0.0.1:{ports[service]}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=asked), timeout=5)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                pytest.fail(f"{service} knows nothing of {asked!r}")
            return None
        return answer.status


@pytest.mark.parametrize("service", SERVICES)
def test_without_its_parts_a_service_is_alive_and_not_ready(
    manifests: Manifests, ports: Mapping[str, int], started: Mapping[str, Program], service: str
) -> None:
    started[service].wait_until(lambda: probe(manifests, ports, service, "startupProbe") == SERVING, START_S)

    assert probe(manifests, ports, service, "livenessProbe") == SERVING
    assert probe(manifests, ports, service, "readinessProbe") == NOT_SERVING
    assert '"action": "part_away"' in started[service].err, "as the pods are told: JSON, and what is missing"


def test_the_storage_service_answers_keda(
    manifests: Manifests, ports: Mapping[str, int], started: Mapping[str, Program]
) -> None:
    started["storage"].wait_until(lambda: probe(manifests, ports, "storage", "startupProbe") == SERVING, START_S)
    trigger = ScaledObjectRef(scalerMetadata={"stage": "download"})

    with grpc.insecure_channel(f"127.0.0.1:{ports['storage']}") as channel, pytest.raises(grpc.RpcError) as refused:
        ExternalScalerStub(channel).IsActive(trigger, timeout=30)
    assert "PART_UNAVAILABLE" in str(refused.value.trailing_metadata()), "its database is away"


@pytest.mark.parametrize("service", ["storage", "downloader", "processor"])
def test_without_its_volume_a_service_is_alive_too_and_takes_it_when_it_comes(
    manifests: Manifests, tmp_path: Path, service: str
) -> None:
    names = [service, f"{service} metrics", "storage", "nobody"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    volume = tmp_path / "volume"
    volume.write_bytes(b"no folder can be made here")
    program = start(manifests, ports, service, tmp_path)
    try:
        program.wait_until(lambda: "the blob store is away" in program.err, START_S)
        program.wait_until(lambda: probe(manifests, ports, service, "startupProbe") == SERVING, START_S)
        assert probe(manifests, ports, service, "livenessProbe") == SERVING
        assert probe(manifests, ports, service, "readinessProbe") == NOT_SERVING
        volume.unlink()
        program.wait_until(lambda: "The blob store is there" in program.err, START_S)
    finally:
        program.destroy()
