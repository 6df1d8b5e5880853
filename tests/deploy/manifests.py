"""`deploy/k8s` as a cluster would get it: built by kubectl, and asked for what is in it.

Where there is no kubectl new enough, `kustomizing` builds it; that both build the same is tested wherever there is one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.deploy.kustomizing import rendered
from tests.guards.tree import ROOT

K8S = ROOT / "deploy" / "k8s"
SERVICES = ("gateway", "storage", "downloader", "processor")
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
OLDEST_KUBECTL = 24
"""The first minor version whose kustomize knows all that is used here: 4.5.4."""
_PARTS: Mapping[str, tuple[str, Sequence[str]]] = {
    "local": ("overlays/local", ()),
    "local-keda": ("overlays/local", ("components/keda",)),
    "production": ("overlays/production", ()),
    "production-keda": ("overlays/production", ("components/keda",)),
    "production-volume": ("overlays/production", ("components/blobs-on-volume",)),
}
VARIANTS = tuple(_PARTS)
"""The mills that users put together of what there is."""
_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    """What a controller makes pods of."""

    controller: Object

    @property
    def name(self) -> str:
        """The controller's name."""
        return str(self.controller["metadata"]["name"])

    @property
    def labels(self) -> Mapping[str, str]:
        """The pods' labels."""
        found: Mapping[str, str] = self.controller["spec"]["template"]["metadata"]["labels"]
        return found

    @property
    def component(self) -> str:
        """What of the mill it is; empty for what the mill stands on."""
        return self.labels.get(COMPONENT, "")

    @property
    def spec(self) -> Any:
        """The pods' specification."""
        return self.controller["spec"]["template"]["spec"]

    @property
    def container(self) -> Any:
        """The only container."""
        (container,) = self.spec["containers"]
        return container

    @property
    def ports(self) -> Mapping[str, int]:
        """The ports that are listened on, by their names."""
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", ())}

    def amount(self, kind: str, resource: str) -> float:
        """A request or a limit, as a number."""
        return quantity(self.container["resources"][kind][resource])

    @property
    def volumes(self) -> Mapping[str, Object]:
        """The volumes by where they are mounted."""
        named = {volume["name"]: volume for volume in self.spec.get("volumes", ())}
        templates = {each["metadata"]["name"]: each for each in self.controller["spec"].get("volumeClaimTemplates", ())}
        return {mount["mountPath"]: (named | templates)[mount["name"]] for mount in self.container["volumeMounts"]}


class Manifests:
    """Everything that one `kubectl apply -k` would send."""

    def __init__(self, objects: Sequence[Object]) -> None:
        self.objects = objects

    def of(self, kind: str) -> Mapping[str, Object]:
        """The objects of a kind by name."""
        return {each["metadata"]["name"]: each for each in self.objects if each["kind"] == kind}

    @cached_property
    def pods(self) -> Mapping[str, Pod]:
        """Every kind of pod, by its component, or its name where it is none of the mill."""
        kinds = ("Deployment", "StatefulSet", "Job")
        pods = [Pod(each) for each in self.objects if each["kind"] in kinds]
        return {pod.component or pod.name: pod for pod in pods}

    @property
    def mill(self) -> Mapping[str, Pod]:
        """The pods of the mill itself, the migration included."""
        return {name: pod for name, pod in self.pods.items() if pod.component}

    def selected(self, labels: Mapping[str, str]) -> list[str]:
        """The pods that a selector means."""
        return [name for name, pod in self.pods.items() if labels.items() <= pod.labels.items()]

    def environment(self, component: str) -> Mapping[str, str]:
        """The variables that a pod gets; for keys of Secrets that aren't here, where they come from."""
        pod = self.pods[component]
        found: dict[str, str] = {}
        for source in pod.container.get("envFrom", ()):
            if "configMapRef" in source:
                found |= self.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
        for variable in pod.container.get("env", ()):
            found[variable["name"]] = variable["value"] if "value" in variable else self._value(pod, variable)
        return found

    def secret_keys(self, component: str) -> Mapping[str, tuple[str, str]]:
        """The variables that come from a Secret: its name and its key."""
        refs = {
            variable["name"]: variable["valueFrom"].get("secretKeyRef")
            for variable in self.pods[component].container.get("env", ())
            if "valueFrom" in variable
        }
        return {name: (ref["name"], ref["key"]) for name, ref in refs.items() if ref}

    def _value(self, pod: Pod, variable: Object) -> str:
        source = variable["valueFrom"]
        if "resourceFieldRef" in source:
            kind, _, resource = source["resourceFieldRef"]["resource"].partition(".")
            return str(-int(-pod.amount(kind, resource) // 1))
        key = source["secretKeyRef"]["key"]
        return {"broker-url": "amqp://u:p@broker:5672/", "database-url": "postgresql://u:p@database:5432/mill"}[key]


def quantity(text: str) -> float:
    """A quantity in Kubernetes' notation."""
    found = re.fullmatch(r"([\d.]+)([a-zA-Z]*)", str(text))
    assert found, text
    return float(found[1]) * _UNITS[found[2]]


@cache
def built(variant: str) -> Manifests:
    """Build a variant of the mill."""
    with folder_of(variant) as folder:
        return Manifests(built_by_kubectl(folder) if has_kubectl() else rendered(folder))


@contextmanager
def folder_of(variant: str) -> Iterator[Path]:
    """The folder whose kustomization.yaml describes a variant of the mill."""
    overlay, components = _PARTS[variant]
    with TemporaryDirectory() as folder:
        yield _own_overlay(Path(folder), overlay, components) if components else K8S / overlay


@cache
def has_kubectl() -> bool:
    """Whether there is a kubectl that can build the manifests; Debian 12 brings one that can't."""
    if shutil.which("kubectl") is None:
        return False
    asked = _kubectl("version", "--client", "--output=json")
    if asked.returncode != 0:
        return False
    told = json.loads(asked.stdout)["clientVersion"]
    return int(told["major"]) > 1 or int(re.sub(r"\D", "", told["minor"])) >= OLDEST_KUBECTL


def built_by_kubectl(folder: Path) -> Sequence[Object]:
    """Build what a folder with a kustomization.yaml describes, with nothing to complain of."""
    done = _kubectl("kustomize", str(folder))
    assert (done.returncode, done.stderr) == (0, ""), "even a warning would greet every user"
    return list(yaml.safe_load_all(done.stdout))


def _kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
    # No configuration of this machine's user, and no cluster, has any part in it.
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull, "KUBECONFIG": os.devnull}
    return subprocess.run(
        ["kubectl", *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def _own_overlay(folder: Path, overlay: str, components: Sequence[str]) -> Path:
    """An overlay of a user's own."""
    kustomization = {
        "resources": [os.path.relpath(K8S / overlay, folder.resolve())],
        "components": [os.path.relpath(K8S / component, folder.resolve()) for component in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    return folder


def sources() -> Iterator[Path]:
    """Yield every file of `deploy/k8s`."""
    yield from (path for path in K8S.rglob("*") if path.is_file())
