"""The Kubernetes manifests fit Kubernetes, the services and each other."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # ships without types
import pytest
from kubernetes_validate import utils as schemas

from imagemill import __version__
from imagemill.keda import externalscaler_pb2 as keda
from imagemill.runtime.health import GATEWAY, STORAGE
from imagemill.runtime.process import CLOSING_S
from imagemill.settings.catalogue import GROUPS
from imagemill.settings.declaring import settings_of
from imagemill.settings.loading import Sources, load
from imagemill.settings.service_groups import Downloader, Gateway, OnDatabase, Processor
from processor_svc.pool import OUTSTANDING
from storage_svc.scaler import Scaler
from tests.deploy.manifests import COMPONENT, SERVICES, VARIANTS, Manifests, built, quantity, sources
from tests.guards.tree import ROOT

OLDEST, NEWEST = "1.27", "1.37"
DOCUMENT = ROOT / "docs" / "how-to" / "deploy-on-kubernetes.md"
KINDS_OF_OTHERS = ("ScaledObject",)
"""Kinds that Kubernetes itself does not know."""
NOBODY: Any = None


@pytest.fixture(params=VARIANTS)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return built(request.param)


@pytest.fixture
def production() -> Manifests:
    return built("production")


@pytest.fixture
def scaled() -> Manifests:
    return built("production-keda")


def told(manifests: Manifests, component: str) -> Any:
    """The settings that a pod's environment gives its service, as the service itself reads them."""
    group = OnDatabase if component == "migrate" else GROUPS[component]
    return load(group, Sources(environ=manifests.environment(component), folder=None)).values


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_one_that_kubernetes_knows(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # It would read several megabytes anew for each object.
    monkeypatch.setattr(schemas, "schema_contents", cache(schemas.schema_contents))
    distinct = {json.dumps(each, sort_keys=True): each for variant in VARIANTS for each in built(variant).objects}

    for each in distinct.values():
        if each["kind"] not in KINDS_OF_OTHERS:
            kubernetes_validate.validate(each, version, strict=True)


def test_control_a_field_that_kubernetes_does_not_know_is_refused(production: Manifests) -> None:
    wrong = dict(production.of("Service")["imagemill-storage"])
    wrong["spec"] = wrong["spec"] | {"clusterIp": "None"}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_there_is_a_pod_of_every_service_and_a_migration(manifests: Manifests) -> None:
    assert set(manifests.mill) == {*SERVICES, "migrate"}
    for component, pod in manifests.mill.items():
        assert pod.container["args"] == [component]


def test_every_environment_is_one_that_its_service_takes(manifests: Manifests) -> None:
    """Unknown names, values that are not allowed and missing ones are told by the loader itself."""
    for component in manifests.mill:
        told(manifests, component)


def test_every_variable_that_is_given_is_of_use_to_somebody(manifests: Manifests) -> None:
    for component in SERVICES:
        own = {each.variable for each in settings_of(GROUPS[component]).values()}
        direct = {each["name"] for each in manifests.pods[component].container["env"]}
        assert direct <= own, component


def test_ports_are_those_that_are_listened_on(manifests: Manifests) -> None:
    for component in SERVICES:
        pod, settings = manifests.pods[component], told(manifests, component)
        listened = int(settings.listen.rpartition(":")[2])
        metrics = int(settings.metrics_listen.rpartition(":")[2])
        assert sorted(pod.ports.values()) == sorted([listened, metrics])
        assert pod.ports["metrics"] == metrics
        assert pod.controller["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(metrics)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert pod.container[probe]["grpc"]["port"] == listened
        for address in (settings.listen, settings.metrics_listen):
            assert address.startswith("0.0.0.0:"), "other pods and the kubelet come from other addresses"


def test_every_service_address_leads_to_a_port_of_pods_of_one_kind(manifests: Manifests) -> None:
    for name, service in manifests.of("Service").items():
        (selected,) = manifests.selected(service["spec"]["selector"])
        for port in service["spec"]["ports"]:
            assert manifests.pods[selected].ports[port["targetPort"]] == port["port"], name


def test_the_services_find_all_pods_of_the_storage_service(manifests: Manifests) -> None:
    for component in ("gateway", "downloader", "processor"):
        host, _, port = told(manifests, component).storage_target.rpartition(":")
        service = manifests.of("Service")[host]
        assert service["spec"]["clusterIP"] == "None", "behind one address, one pod would get all the calls"
        assert manifests.selected(service["spec"]["selector"]) == ["storage"]
        assert [each["port"] for each in service["spec"]["ports"]] == [int(port)]


def test_probes_tell_what_is_alive_from_what_is_ready(manifests: Manifests) -> None:
    ready = {"gateway": GATEWAY, "storage": STORAGE, "downloader": None, "processor": None}
    for component in SERVICES:
        container = manifests.pods[component].container
        assert container["readinessProbe"]["grpc"].get("service") == ready[component]
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["grpc"]["service"] == "imagemill.alive"


def test_a_pod_has_time_to_end_in_good_order(manifests: Manifests) -> None:
    for component in SERVICES:
        pod = manifests.pods[component]
        command, seconds = pod.container["lifecycle"]["preStop"]["exec"]["command"]
        assert command == "sleep"
        grace_s = getattr(told(manifests, component), "grace_s", 0.0)
        assert pod.spec["terminationGracePeriodSeconds"] > float(seconds) + grace_s + CLOSING_S


def test_selectors_mean_pods_of_one_kind(manifests: Manifests) -> None:
    for pod in manifests.pods.values():
        if "selector" in pod.controller["spec"]:
            (selected,) = manifests.selected(pod.controller["spec"]["selector"]["matchLabels"])
            assert manifests.pods[selected] == pod
    budgets = [each["spec"] for each in manifests.of("PodDisruptionBudget").values()]
    protected = [manifests.selected(budget["selector"]["matchLabels"]) for budget in budgets]
    assert sorted(protected) == sorted([service] for service in SERVICES)
    assert {budget["maxUnavailable"] for budget in budgets} == {1}


def test_one_autoscaler_at_most_pulls_at_each_service_and_no_manifest_beside_it(manifests: Manifests) -> None:
    scalers = [*manifests.of("HorizontalPodAutoscaler").values(), *manifests.of("ScaledObject").values()]
    targets = [scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers]

    assert "imagemill-processor" in targets
    assert len(set(targets)) == len(targets)
    for target in targets:
        assert "replicas" not in manifests.of("Deployment")[target]["spec"]


def test_production_has_two_of_everything(production: Manifests) -> None:
    for component in SERVICES:
        assert _fewest(production, component) >= 2


def test_the_window_is_twice_what_all_workers_hold(manifests: Manifests) -> None:
    gateway: Gateway = told(manifests, "gateway")
    downloader: Downloader = told(manifests, "downloader")
    processor: Processor = told(manifests, "processor")
    assert processor.children is not None, "left to itself, it would count the cores of the node"
    held = _most(manifests, "downloader") * downloader.downloads
    held += _most(manifests, "processor") * processor.children * OUTSTANDING

    assert gateway.least_window >= 2 * held


def test_pods_have_room_for_what_their_settings_allow(manifests: Manifests) -> None:
    downloader: Downloader = told(manifests, "downloader")
    processor: Processor = told(manifests, "processor")
    assert processor.children is not None

    room = quantity(manifests.pods["downloader"].volumes["/tmp"]["emptyDir"]["sizeLimit"])
    assert room >= downloader.downloads * downloader.max_file_size
    memory = manifests.pods["processor"].amount("limits", "memory")
    assert memory >= processor.children * processor.child_memory + 2**29
    for pod in manifests.mill.values():
        assert pod.amount("limits", "ephemeral-storage") > quantity(pod.volumes["/tmp"]["emptyDir"]["sizeLimit"])


def test_pods_have_as_few_rights_as_they_can_do_with(manifests: Manifests) -> None:
    for pod in manifests.pods.values():
        spec, rights = pod.spec, pod.container["securityContext"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(spec)
        assert pod.amount("requests", "cpu") > 0
        assert pod.amount("requests", "memory") <= pod.amount("limits", "memory")
    for pod in manifests.mill.values():
        assert pod.container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod.spec["enableServiceLinks"] is False, "IMAGEMILL_GATEWAY_PORT and its like are no settings"
        assert pod.spec["serviceAccountName"] in manifests.of("ServiceAccount")


def test_the_namespace_holds_pods_to_that(manifests: Manifests) -> None:
    labels = manifests.of("Namespace")["imagemill"]["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {each["metadata"].get("namespace") for each in manifests.objects if each["kind"] != "Namespace"} == {
        "imagemill"
    }


def test_all_pods_of_the_mill_run_one_image_as_the_user_it_is_made_for(manifests: Manifests) -> None:
    (image,) = {pod.container["image"] for pod in manifests.mill.values()}
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)

    assert image == f"imagemill:{__version__}"
    assert user is not None
    for pod in manifests.mill.values():
        security = pod.spec["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (int(user[1]), int(user[2]))


def test_pods_of_a_service_are_spread(manifests: Manifests) -> None:
    for component in SERVICES:
        pod = manifests.pods[component]
        spread = pod.spec["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        for each in spread:
            assert each["labelSelector"]["matchLabels"].items() <= pod.labels.items()
            assert COMPONENT in each["matchLabelKeys"]


def test_each_service_knows_the_secrets_that_it_needs_and_no_other(manifests: Manifests) -> None:
    for component in manifests.mill:
        group = OnDatabase if component == "migrate" else GROUPS[component]
        needed = {each.variable for each in settings_of(group).values() if each.secret}
        given = manifests.environment(component)
        assert {name for name in given if "_URL" in name} - {"IMAGEMILL_BLOB_URL"} == needed - {"IMAGEMILL_BLOB_URL"}
        assert set(manifests.secret_keys(component)) == needed - {"IMAGEMILL_BLOB_URL"}


def test_the_repository_holds_no_secret_but_placeholders(manifests: Manifests) -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    secrets = manifests.of("Secret")
    for component in manifests.mill:
        for name, key in manifests.secret_keys(component).values():
            if secrets:
                assert key in secrets[name]["data"]
            else:
                assert f"create secret generic {name} " in document
                assert f"--from-literal={key}=" in document
    for path in sources():
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"-(password|url)=", line):
                assert "placeholder" in line, path


def test_workers_and_storage_share_the_blob_store(manifests: Manifests) -> None:
    for component in SERVICES:
        pod, settings = manifests.pods[component], told(manifests, component)
        folder = str(getattr(settings, "blob_url", "")).removeprefix("file://")
        claims = [path for path, volume in pod.volumes.items() if "persistentVolumeClaim" in volume]
        assert claims == ([folder] if folder.startswith("/") else [])
        assert (pod.spec["serviceAccountName"] == "imagemill-blobs") == hasattr(settings, "blob_url")


async def test_keda_asks_for_what_the_storage_service_answers(scaled: Manifests) -> None:
    asked = []
    for name, each in scaled.of("ScaledObject").items():
        (trigger,) = each["spec"]["triggers"]
        service, namespace, port = re.fullmatch(
            r"([\w-]+)\.([\w-]+)\.svc:(\d+)", trigger["metadata"]["scalerAddress"]
        ).groups()  # type: ignore[union-attr]  # else it fails
        answered = scaled.of("Service")[service]
        assert namespace == answered["metadata"]["namespace"]
        assert int(port) == answered["spec"]["ports"][0]["port"]
        assert scaled.selected(answered["spec"]["selector"]) == ["storage"]
        assert trigger["type"] == "external-push"
        ref = keda.ScaledObjectRef(name=name, scalerMetadata=trigger["metadata"])
        (spec,) = (await Scaler(NOBODY).GetMetricSpec(ref, NOBODY)).metricSpecs
        assert spec.targetSize > 0
        asked.append((each["spec"]["scaleTargetRef"]["name"], spec.metricName))

    assert asked == [
        ("imagemill-downloader", "imagemill-download-backlog"),
        ("imagemill-processor", "imagemill-process-backlog"),
    ]


def test_no_file_uses_anchors() -> None:
    """Builders before kustomize 5.1 change the one place when they mean the other: labels got into selectors."""
    assert [
        f"{path.name}: {line}"
        for path in sources()
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"[:-] [&*]\w", line)
    ] == []


def test_every_path_and_object_that_the_document_names_is_there(production: Manifests, scaled: Manifests) -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    named = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in scaled.objects}
    named |= {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in production.objects}

    for path in re.findall(r"deploy/k8s/[\w/.-]+", document):
        assert (ROOT / path).exists(), path
    found = re.findall(r"\b(?:deployment|service|job|hpa|scaledobject)/imagemill-[\w-]+", document)
    assert found
    assert {each.replace("hpa/", "horizontalpodautoscaler/") for each in found} <= named


def _fewest(manifests: Manifests, component: str) -> int:
    return _replicas(manifests, component, "minReplicas", "minReplicaCount")


def _most(manifests: Manifests, component: str) -> int:
    return _replicas(manifests, component, "maxReplicas", "maxReplicaCount")


def _replicas(manifests: Manifests, component: str, hpa_key: str, keda_key: str) -> int:
    name = f"imagemill-{component}"
    for kind, key in (("HorizontalPodAutoscaler", hpa_key), ("ScaledObject", keda_key)):
        if name in manifests.of(kind):
            return int(manifests.of(kind)[name]["spec"][key])
    return int(manifests.of("Deployment")[name]["spec"].get("replicas", 1))
