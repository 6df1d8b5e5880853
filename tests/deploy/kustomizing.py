"""What `kubectl kustomize` makes of `deploy/k8s`, for machines that have no kubectl new enough.

It knows what these kustomizations use, and refuses what it does not know. `test_kustomizing.py` compares the two
wherever there is such a kubectl.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import textwrap
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
_GENERATORS = {"configMapGenerator": "ConfigMap", "secretGenerator": "Secret"}
_SAYS = {"apiVersion", "kind", "namespace", "resources", "components", "patches", "labels", "images", "replicas"}
_SAYS |= _GENERATORS.keys()
_WORKLOADS = {"Deployment", "Job", "StatefulSet"}
_KINDS = _WORKLOADS | {"ConfigMap", "HorizontalPodAutoscaler", "Namespace", "NetworkPolicy", "PersistentVolumeClaim"}
_KINDS |= {"PodDisruptionBudget", "ScaledObject", "Secret", "Service", "ServiceAccount"}
_KEYED = {"containers": "name", "ports": "containerPort", "volumes": "name", "volumeMounts": "mountPath"}
"""Lists in which a patch means the entry with the same key; entries that are new come first."""
_REPLACED = {"accessModes", "envFrom"}
"""Lists that a patch replaces; any other it may only bring."""
_REFERENCES = {
    "configMapRef": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
    "secretRef": "Secret",
    "secretKeyRef": "Secret",
}


class Unrenderable(Exception):
    """A kustomization is wrong, or asks for something that is not known here."""


def rendered(folder: Path) -> Sequence[Object]:
    """Everything that the `kustomization.yaml` of a folder describes. Raises `Unrenderable`."""
    build = _Build()
    build.apply(folder)
    names = {(each["kind"], _name(each)): f"{_name(each)}-{_hash(each)}" for each in build.generated}
    for each in build.generated:
        each["metadata"]["name"] = names[each["kind"], _name(each)]
    for each in build.objects:
        _refer(each.get("spec"), names)
    return build.objects


class _Build:
    def __init__(self) -> None:
        self.objects: list[Object] = []
        self.generated: list[Object] = []

    def apply(self, folder: Path, kind: str = "Kustomization") -> None:
        """Do what a folder says to what there is so far."""
        said = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
        _expect(said, _SAYS)
        _demand(said.get("kind", "Kustomization") == kind, f"{folder} is no {kind}")
        for path in said.get("resources", ()):
            self._take_in(folder / path)
        for generator, generated in _GENERATORS.items():
            for each in said.get(generator, ()):
                self._generate(generated, each, said.get("namespace"))
        for path in said.get("components", ()):
            self.apply(folder / path, "Component")
        for patch in said.get("patches", ()):
            self._patch(folder, patch)
        for each in self.objects:
            _transform(each, said)
        for count in said.get("replicas", ()):
            _expect(count, {"name", "count"})
            self._found("Deployment", count["name"], at_least=1)[0]["spec"]["replicas"] = count["count"]

    def _take_in(self, path: Path) -> None:
        new = [*yaml.safe_load_all(path.read_text(encoding="utf-8"))] if path.is_file() else []
        if path.is_dir():
            below = _Build()
            below.apply(path)
            new, self.generated = below.objects, self.generated + below.generated
        _demand(bool(new), f"{path} is not there, or empty")
        for each in new:
            _demand(each["kind"] in _KINDS, f"{path}: the kind {each['kind']} is not known")
            _demand(not self._found(each["kind"], _name(each)), f"{path}: {_name(each)} is there already")
            self.objects.append(each)

    def _generate(self, kind: str, said: Object, namespace: str | None) -> None:
        _expect(said, {"name", "literals", "behavior"})
        odd = re.search(r"""=['"]|[<>&]|[^ -~]""", "\n".join(said["literals"]).replace("\n", " "))
        _demand(not odd, f"{said['name']}: how quotes, <, >, & and what is not ASCII are written is not known")
        data = dict(literal.split("=", 1) for literal in said["literals"])
        if kind == "Secret":
            data = {key: _encoded(value) for key, value in data.items()}
        if said.get("behavior") == "merge":
            (found,) = self._found(kind, said["name"], at_least=1)
            _demand(found["metadata"]["namespace"] == namespace, f"{said['name']} is in another namespace")
            found["data"] |= data
            return
        _demand("behavior" not in said and not self._found(kind, said["name"]), f"{said['name']} can't be made")
        made: Object = {"apiVersion": "v1", "kind": kind, "metadata": {"name": said["name"]}, "data": data}
        self.objects.append(made | ({"type": "Opaque"} if kind == "Secret" else {}))
        self.generated.append(self.objects[-1])

    def _patch(self, folder: Path, said: Object) -> None:
        _expect(said, {"path", "patch", "target"})
        change = yaml.safe_load(said["patch"] if "patch" in said else (folder / said["path"]).read_text("utf-8"))
        _demand(isinstance(change, dict), "patches other than strategic merges are not known")
        target = said.get("target", {"kind": change["kind"], "name": _name(change)})
        _expect(target, {"kind", "name"})
        change = {key: value for key, value in change.items() if key not in ("apiVersion", "kind")}
        del change["metadata"]["name"]
        for each in self._found(target["kind"], target.get("name", ".*"), at_least="target" not in said):
            if change.get("$patch") == "delete":
                self.objects = [other for other in self.objects if other is not each]
            else:
                _merge(each, change)

    def _found(self, kind: str, name: str, at_least: int = 0) -> list[Object]:
        found = [each for each in self.objects if re.fullmatch(kind, each["kind"]) and re.fullmatch(name, _name(each))]
        _demand(len(found) >= at_least, f"there is no {kind} {name}")
        return found


def _merge(old: Object, change: Object) -> None:
    """Strategic merge."""
    for key, new in change.items():
        _demand(not key.startswith("$"), f"{key} is not known there")
        if new is None:
            old.pop(key, None)
        elif isinstance(new, dict):
            _merge(old.setdefault(key, {}), new)
        elif isinstance(new, list) and key in old and key not in _REPLACED:
            _demand(key in _KEYED, f"how lists are merged under {key} is not known")
            known = {each[_KEYED[key]]: each for each in old[key]}
            added = [copy.deepcopy(each) for each in new if each[_KEYED[key]] not in known]
            for each in new:
                _merge(known.get(each[_KEYED[key]], {}), each)
            old[key] = added + old[key]
        else:
            old[key] = copy.deepcopy(new)


def _transform(each: Object, said: Object) -> None:
    """Namespace, labels, images."""
    if "namespace" in said and each["kind"] != "Namespace":
        each["metadata"]["namespace"] = said["namespace"]
    for label in said.get("labels", ()):
        _expect(label, {"pairs"})
        each["metadata"].setdefault("labels", {}).update(label["pairs"])
    pod = each["spec"]["template"]["spec"] if each["kind"] in _WORKLOADS else {}
    for image in said.get("images", ()):
        _expect(image, {"name", "newName", "newTag"})
        for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
            name, _, tag = container["image"].partition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"


def _hash(each: Object) -> str:
    """The end of a generated object's name: digits that make words by chance are replaced."""
    hashed = {key: each[key] for key in ("data", "kind", "type") if key in each} | {"name": ""}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(str.maketrans("013ae", "ghkmt"))


def _encoded(secret: str) -> str:
    text = base64.b64encode(secret.encode()).decode()
    return text if len(text) < 70 else "\n".join([*textwrap.wrap(text, 70), ""])


def _refer(node: Any, names: Mapping[tuple[str, str], str]) -> None:
    """Let what speaks of generated objects speak of them by their new names."""
    for key, below in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key in _REFERENCES:
            below["name"] = names.get((_REFERENCES[key], below["name"]), below["name"])
        _refer(below, names)


def _name(each: Object) -> str:
    return str(each["metadata"]["name"])


def _expect(said: Object, known: Set[str]) -> None:
    _demand(said.keys() <= known, f"not known: {', '.join(sorted(said.keys() - known))}")


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Unrenderable(otherwise)
