"""Who may speak to whom in the cluster: what has to, and nobody else."""

from __future__ import annotations

from itertools import product

import pytest

from tests.deploy.manifests import SERVICES, VARIANTS, Manifests, built
from tests.deploy.network_policies import Peer, Policies

PORTS = {"gateway": 50051, "storage": 50052, "downloader": 50053, "processor": 50054}
METRICS = 9464
DNS = Peer({"k8s-app": "kube-dns"}, namespace="kube-system")
METADATA = Peer(address="169.254.169.254")
PUBLIC = [Peer(address=address) for address in ("93.184.216.34", "2606:2800:220:1::1")]
PRIVATE = [Peer(address=address) for address in ("10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1")]
NO_PLACE_FOR_PICTURES = [
    METADATA, *PRIVATE,
    *(Peer(address=address) for address in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "fe80::1", "::1", "64:ff9b::a00:1")),
]  # fmt: skip
ASKS_STORAGE = ("gateway", "downloader", "processor")
NEEDS_BLOBS = ("storage", "downloader", "processor")


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def manifests(variant: str) -> Manifests:
    return built(variant)


@pytest.fixture
def policies(manifests: Manifests) -> Policies:
    return Policies(manifests)


def test_every_pod_is_under_a_policy_for_both_ways(manifests: Manifests, policies: Policies) -> None:
    stranger = Peer({"app": "anything"}, namespace="elsewhere")
    for name in manifests.pods:
        assert not policies.reaches(name, stranger, 80)
        assert not policies.accepts(policies.pod(name), stranger, 80)


def test_names_can_be_looked_up(manifests: Manifests, policies: Policies) -> None:
    for name in manifests.pods:
        assert policies.reaches(name, DNS, 53, "UDP")
        assert policies.reaches(name, DNS, 53)


def test_inside_the_mill_only_the_storage_service_is_asked_and_by_those_that_have_to(policies: Policies) -> None:
    allowed = {
        (source, target)
        for source, target in product((*SERVICES, "migrate"), SERVICES)
        for port in {*PORTS.values(), METRICS}
        if policies.reaches(source, policies.pod(target), port)
    }

    assert allowed == {(source, "storage") for source in ASKS_STORAGE}
    for source in ASKS_STORAGE:
        assert policies.reaches(source, policies.pod("storage"), PORTS["storage"])


def test_only_the_downloader_reaches_the_internet_and_nothing_private(variant: str, policies: Policies) -> None:
    for address in PUBLIC:
        for port in (80, 443, 8080):
            assert policies.reaches("downloader", address, port)
    # Those that are kept in public places, an object store has to be reached: by HTTPS alone.
    closed = (80, 8080) if variant in ("production", "production-keda") else (80, 443, 8080)
    for name, address, port in product(("gateway", "storage", "processor", "migrate"), PUBLIC, closed):
        assert not policies.reaches(name, address, port), (name, address, port)
    for name, address in product(("gateway", "migrate"), PUBLIC):
        assert not policies.reaches(name, address, 443)
    for address, port in product(NO_PLACE_FOR_PICTURES, (80, 443, 8080)):
        assert not policies.reaches("downloader", address, port), (address, port)


def test_nobody_reaches_the_metadata_of_the_cloud(manifests: Manifests, policies: Policies) -> None:
    for name in manifests.pods:
        assert not any(policies.reaches(name, METADATA, port) for port in (80, 443, 8080, 5432, 5672))


@pytest.mark.parametrize("variant", ["local", "local-keda"], indirect=True)
def test_in_a_local_cluster_broker_and_database_are_reached_by_those_that_need_them(policies: Policies) -> None:
    reached = {
        (source, target)
        for source, (target, port) in product((*SERVICES, "migrate"), (("rabbitmq", 5672), ("postgres", 5432)))
        if policies.reaches(source, policies.pod(target), port)
    }

    assert reached == {(service, "rabbitmq") for service in SERVICES} | {
        ("storage", "postgres"),
        ("migrate", "postgres"),
    }


@pytest.mark.parametrize("variant", ["production", "production-keda"], indirect=True)
def test_in_production_broker_and_database_are_reached_in_private_networks(policies: Policies) -> None:
    (there,) = (peer for peer in PRIVATE if peer.address == "10.1.2.3")

    assert [name for name in (*SERVICES, "migrate") if policies.reaches(name, there, 5671)] == list(SERVICES)
    assert [name for name in (*SERVICES, "migrate") if policies.reaches(name, there, 5432)] == ["storage", "migrate"]
    for name in NEEDS_BLOBS:
        assert policies.reaches(name, PUBLIC[0], 443)


def test_only_whoever_bears_the_label_reaches_the_gateway(policies: Policies) -> None:
    gateway, port = policies.pod("gateway"), PORTS["gateway"]
    labelled = {"imagemill-client": "true"}

    assert policies.accepts(gateway, Peer(labelled), port)
    assert policies.accepts(gateway, Peer({"app": "shop"}, "shop", labelled), port)
    assert not policies.accepts(gateway, Peer({"app": "shop"}, "shop"), port)
    assert not policies.accepts(gateway, Peer({"app": "anything"}), port)
    assert not policies.accepts(gateway, Peer(labelled, "shop"), port), "a namespace's word, not any pod's"


def test_only_monitoring_reads_the_metrics_of_every_service(policies: Policies) -> None:
    for name in SERVICES:
        assert policies.accepts(policies.pod(name), Peer({"app": "prometheus"}, "monitoring"), METRICS)
        assert not policies.accepts(policies.pod(name), Peer({"app": "prometheus"}, "shop"), METRICS)
        assert not policies.accepts(policies.pod(name), Peer({"app": "prometheus"}, "monitoring"), PORTS[name])


def test_keda_reaches_the_storage_service_where_it_is_asked_for(variant: str, policies: Policies) -> None:
    operator = Peer({"app": "keda-operator"}, "keda")

    assert policies.accepts(policies.pod("storage"), operator, PORTS["storage"]) == variant.endswith("keda")
    assert not policies.accepts(policies.pod("gateway"), operator, PORTS["gateway"])


def test_control_without_policies_everybody_reaches_everybody() -> None:
    open_to_all = Manifests([each for each in built("production").objects if each["kind"] != "NetworkPolicy"])

    assert Policies(open_to_all).reaches("processor", METADATA, 80)
