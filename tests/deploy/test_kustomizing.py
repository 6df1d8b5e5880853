"""What the manifest tests look at is what kubectl makes of `deploy/k8s`, also where there is no kubectl."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.deploy.kustomizing import Unrenderable, rendered
from tests.deploy.manifests import K8S, VARIANTS, Object, built_by_kubectl, folder_of, has_kubectl
from tests.guards.tree import ROOT

DOCUMENT = ROOT / "docs" / "how-to" / "deploy-on-kubernetes.md"
GENERATED = """
    configMapGenerator:
      - {name: one, literals: ["one="]}
      - {name: other, literals: [LISTEN=0.0.0.0:9464, GRACE_S=20]}
    secretGenerator:
      - name: broker
        literals: ["url=amqp://imagemill:placeholder@rabbitmq.of.somebody.with.a.long.name:5672/and/a/path"]
"""
KNOWN_NAMES = {"one-9g67k2htb6", "other-7gbmc5t4d2", "broker-mmht2225bh"}
"""As kubectl 1.32 makes them."""
with_kubectl = pytest.mark.skipif(not has_kubectl(), reason="compares with kubectl 1.24 or newer, and there is none")


def described(folder: Path, kustomization: str) -> Path:
    """A folder with a kustomization of its own beside a Deployment."""
    (folder / "kustomization.yaml").write_text(dedent(kustomization), encoding="utf-8")
    (folder / "gateway.yaml").write_text((K8S / "base" / "gateway.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def users_own(folder: Path) -> Path:
    """The overlay that the document tells users to make."""
    (told,) = re.findall(
        r"```yaml\n# mill/kustomization.yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL
    )
    return described(folder, told.replace("../deploy", os.path.relpath(ROOT / "deploy", folder)))


def by_name(objects: Iterable[Object]) -> Mapping[tuple[str, str], Any]:
    """The objects by what tells them apart; no two are the same."""
    listed = list(objects)
    named = {(each["kind"], each["metadata"]["name"]): each for each in listed}
    assert len(named) == len(listed)
    return named


@with_kubectl
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_what_kubectl_makes_of_it(variant: str) -> None:
    with folder_of(variant) as folder:
        assert by_name(rendered(folder)) == by_name(built_by_kubectl(folder))


@with_kubectl
def test_an_overlay_of_a_users_own_is_what_kubectl_makes_of_it(tmp_path: Path) -> None:
    folder = users_own(tmp_path)

    assert by_name(rendered(folder)) == by_name(built_by_kubectl(folder))


@with_kubectl
def test_generated_names_are_those_that_kubectl_makes(tmp_path: Path) -> None:
    assert by_name(built_by_kubectl(described(tmp_path, GENERATED))) == by_name(rendered(tmp_path))


def test_generated_names_end_as_known(tmp_path: Path) -> None:
    assert {each["metadata"]["name"] for each in rendered(described(tmp_path, GENERATED))} == KNOWN_NAMES


def test_the_overlay_in_the_document_gives_its_image_and_its_bucket(tmp_path: Path) -> None:
    objects = by_name(rendered(users_own(tmp_path)))
    images = {
        container["image"]
        for (kind, _), each in objects.items()
        if kind in ("Deployment", "Job")
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    (settings,) = (each["data"] for (kind, _), each in objects.items() if kind == "ConfigMap")

    assert images == {"registry.example.com/imagemill:0.1.0"}
    assert settings["IMAGEMILL_BLOB_URL"] == "s3://your-bucket/mill"
    assert settings["IMAGEMILL_LEAST_WINDOW"] == "640", "what the overlay below says still holds"


def test_building_twice_gives_the_same() -> None:
    first = copy.deepcopy(rendered(K8S / "overlays" / "local"))

    assert rendered(K8S / "overlays" / "local") == first


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("namePrefix: my-", "not known: namePrefix"),
        ("commonLabels: {a: b}", "not known: commonLabels"),
        ("kind: Component", "is no Kustomization"),
        ("labels: [{pairs: {a: b}, includeSelectors: true}]", "not known: includeSelectors"),
        ("images: [{name: imagemill, digest: sha256:0}]", "not known: digest"),
        ("replicas: [{name: imagemill-gatewy, count: 2}]", "no Deployment imagemill-gatewy"),
        ("configMapGenerator: [{name: one, files: [gateway.yaml]}]", "not known: files"),
        ("configMapGenerator: [{name: one, behavior: merge, literals: [a=b]}]", "no ConfigMap one"),
        ("configMapGenerator: [{name: one, behavior: replace, literals: [a=b]}]", "one can't be made"),
        ("""configMapGenerator: [{name: one, literals: ['a="b"']}]""", "quotes"),
        ("patches: [{target: {kind: Deployment}, options: {allowNameChange: true}, path: x}]", "not known: options"),
        (
            "patches: [{target: {labelSelector: a=b}, patch: '{kind: Deployment, metadata: {name: x}}'}]",
            "labelSelector",
        ),
        ("patches: [{target: {kind: Deployment}, patch: '[{op: remove, path: /spec}]'}]", "strategic merges"),
        (
            "patches: [{patch: '{kind: Deployment, metadata: {name: imagemill-gatewy}}'}]",
            "no Deployment imagemill-gatewy",
        ),
        (
            "patches: [{patch: '{kind: Deployment, metadata: {name: imagemill-gateway}, spec: {$patch: replace}}'}]",
            r"\$patch is not known there",
        ),
        (
            "patches: [{patch: '{kind: Service, metadata: {name: imagemill-gateway}, spec: {clusterIPs: [None]}}'},"
            "{patch: '{kind: Service, metadata: {name: imagemill-gateway}, spec: {clusterIPs: []}}'}]",
            "how lists are merged under clusterIPs",
        ),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, said: str, complaint: str) -> None:
    rendered(described(tmp_path, "resources: [gateway.yaml]"))

    with pytest.raises(Unrenderable, match=complaint):
        rendered(described(tmp_path, f"resources: [gateway.yaml]\n{said}"))


@pytest.mark.parametrize("resource", ["nothing.yaml", "https://example.com/mill.yaml", "role.yaml"])
def test_resources_that_are_away_or_of_a_kind_not_known_are_refused(tmp_path: Path, resource: str) -> None:
    (tmp_path / "role.yaml").write_text("{kind: ClusterRole, metadata: {name: all}}", encoding="utf-8")

    with pytest.raises(Unrenderable, match=r"is not there|ClusterRole is not known"):
        rendered(described(tmp_path, f"resources: [{resource}]"))
