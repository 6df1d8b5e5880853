"""What NetworkPolicies allow: the sum of what all of them permit, once any of them selects a pod."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.deploy.manifests import Manifests

OWN = "imagemill"


@dataclass(frozen=True)
class Peer:
    """The other side: a pod, of this or another namespace, or an address outside the cluster."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = OWN
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


class Policies:
    """The policies of some manifests."""

    def __init__(self, manifests: Manifests) -> None:
        self._manifests = manifests
        self._policies = [policy["spec"] for policy in manifests.of("NetworkPolicy").values()]

    def pod(self, name: str) -> Peer:
        """A pod of the manifests."""
        return Peer(self._manifests.pods[name].labels)

    def reaches(self, pod: str, to: Peer, port: int, protocol: str = "TCP") -> bool:
        """Whether a pod may open a connection to a peer; if that is a pod of the manifests, whether it may accept."""
        leaves = self._allows("Egress", "egress", "to", self.pod(pod), to, (protocol, port))
        return leaves and (bool(to.address) or to.namespace != OWN or self.accepts(to, self.pod(pod), port))

    def accepts(self, pod: Peer, source: Peer, port: int) -> bool:
        """Whether a pod takes a connection from a peer."""
        return self._allows("Ingress", "ingress", "from", pod, source, ("TCP", port))

    def _allows(self, kind: str, rules: str, side: str, pod: Peer, other: Peer, port: tuple[str, int]) -> bool:
        mine = [
            policy
            for policy in self._policies
            if kind in policy["policyTypes"] and _is(policy["podSelector"], pod.labels)
        ]
        return not mine or any(
            _has_port(rule.get("ports"), port) and _is_peer(rule.get(side), other)
            for policy in mine
            for rule in policy.get(rules, ())
        )


def _is(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In", "the only operator that is used"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _has_port(ports: Iterable[Mapping[str, Any]] | None, port: tuple[str, int]) -> bool:
    protocol, number = port
    return ports is None or any(
        each.get("protocol", "TCP") == protocol and each["port"] <= number <= each.get("endPort", each["port"])
        for each in ports
    )


def _is_peer(peers: Iterable[Mapping[str, Any]] | None, other: Peer) -> bool:
    return peers is None or any(_matches(peer, other) for peer in peers)


def _matches(peer: Mapping[str, Any], other: Peer) -> bool:
    if "ipBlock" in peer:
        return bool(other.address) and _is_within(peer["ipBlock"], ipaddress.ip_address(other.address))
    if other.address:
        return False
    names = {"kubernetes.io/metadata.name": other.namespace, **other.namespace_labels}
    in_namespace = _is(peer["namespaceSelector"], names) if "namespaceSelector" in peer else other.namespace == OWN
    return in_namespace and _is(peer.get("podSelector", {}), other.labels)


def _is_within(block: Mapping[str, Any], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address in ipaddress.ip_network(block["cidr"]) and not any(
        address in ipaddress.ip_network(excepted) for excepted in block.get("except", ())
    )
