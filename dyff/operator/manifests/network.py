"""What pods that run programs of accounts may connect to, and who may call them, as NetworkPolicies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dyff.cluster import port
from dyff.entities import specs
from dyff.kernel import addresses, images
from dyff.operator import plan
from dyff.operator.manifests import metadata, runners

NOT_PUBLIC = {
    "0.0.0.0/0": (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    ),
    # Of IPv6 only what is assigned to the Internet, without what stands for IPv4 addresses or is for documentation.
    "2000::/3": ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
}  # fmt: skip
"""Networks of the Internet, each with the parts of it that do not belong to the Internet."""

_CALLERS: tuple[dict[str, str], ...] = (
    {"dyff.io/workflow": "evaluation", "dyff.io/component": "client"},
    {"app.kubernetes.io/name": "dyff", "app.kubernetes.io/component": "api"},
)
"""Labels of the pods that call services: clients of evaluations and Dyff's own API."""
_DNS = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
}
_HTTPS = 443
_INSIDE = (".svc", ".svc.cluster.local")


def build(session: port.Object, component: str, setup: plan.Setup) -> port.Object:
    """The policy of a session whose service has no `runners.problem`. It names everything, so that it can be compared.

    A rule that is empty is absent: then nothing is allowed.
    """
    spec = specs.session(session)
    found = runners.runner(spec)
    rules: list[port.Object] = []
    if any(isinstance(volume, specs.DataVolume) for volume in found.volumes):
        rules += _store(setup)
    if may_connect(found.image, setup):
        rules += [_DNS, {"to": _internet()}]
    rules += _named(found.image, setup)
    ingress = [{"from": _callers(setup), "ports": [{"protocol": "TCP", "port": setup.operator.runner_port}]}]
    return _policy(session, session["metadata"]["name"], component, ingress, rules)


def of_step(owner: port.Object, name: str, component: str, setup: plan.Setup) -> port.Object:
    """The policy of a step in whose pod a program of an account runs, too: nothing gets in, and only the object store can be reached."""
    return _policy(owner, name, component, [], _store(setup))


def _policy(owner: port.Object, name: str, component: str, ingress: list[port.Object], egress: list[port.Object]) -> port.Object:
    return {
        "apiVersion": port.NETWORK_POLICY.api_version,
        "kind": port.NETWORK_POLICY.kind,
        "metadata": {
            **metadata.of_child(owner, name, component),
            # Until the last pod has ended: otherwise a program could use the network while it is being stopped.
            "finalizers": [metadata.FINALIZER],
        },
        "spec": {
            "podSelector": {"matchLabels": metadata.selector(owner, component)},
            "policyTypes": ["Ingress", "Egress"],
            **({"ingress": ingress} if ingress else {}),
            **({"egress": _distinct(egress)} if egress else {}),
        },
    }


def may_connect(image: str, setup: plan.Setup) -> bool:
    """Whether the administrator grants programs of this image the Internet."""
    found = images.setting(setup.images, image)
    return found is not None and found.network == "outside"


def _named(image: str, setup: plan.Setup) -> list[port.Object]:
    """Rules for the places that the administrator grants by name. A policy knows addresses and Services, and no other names."""
    setting = images.setting(setup.images, image)
    rules: list[port.Object] = []
    for host, number in map(addresses.host_and_port, setting.connect if setting is not None else ()):
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            # A Service's port can differ from the one of its pods, on which policies decide.
            inside = _namespace(host)
            ports: dict[str, Any] = {"ports": [{"protocol": "TCP", "port": number}]}
            rules += [_DNS, {"to": [inside]} if inside is not None else {"to": _internet(), **ports}]
        else:
            rules.append({"to": _blocks([f"{address}/{address.max_prefixlen}"]), "ports": [{"protocol": "TCP", "port": number}]})
    return rules


def _callers(setup: plan.Setup) -> list[port.Object]:
    pods = [{"podSelector": {"matchLabels": dict(labels)}} for labels in _CALLERS]
    return [*pods, *_blocks(setup.operator.programs.callers)]


def _internet() -> list[port.Object]:
    return [{"ipBlock": {"cidr": network, "except": list(others)}} for network, others in NOT_PUBLIC.items()]


def _blocks(networks: Iterable[str]) -> list[port.Object]:
    return [{"ipBlock": {"cidr": each}} for each in networks]


def _store(setup: plan.Setup) -> list[port.Object]:
    """Rules for the object store, from which the steps of the pod fetch data. A policy holds for all containers of a pod."""
    url = urlsplit(setup.storage_env.get("DYFF_STORAGE_URL", ""))
    if url.scheme in ("", "file"):
        return []
    if setup.operator.programs.storage:
        return [_DNS, {"to": _blocks(setup.operator.programs.storage)}]
    endpoint = urlsplit(next(iter(parse_qs(url.query).get("endpoint", ())), ""))
    host = endpoint.hostname or ""
    number = endpoint.port or (80 if endpoint.scheme == "http" else _HTTPS)
    ports: dict[str, Any] = {"ports": [{"protocol": "TCP", "port": number}]}
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A Service's port can differ from the one of its pods, on which policies decide.
        service = _namespace(host)
        return [_DNS, {"to": [service]} if service is not None else {"to": _internet(), **ports}]
    return [{"to": _blocks([f"{address}/{address.max_prefixlen}"]), **ports}]


def _namespace(host: str) -> port.Object | None:
    """The pods behind the name of a Service; None if it is no such name."""
    name = host.rstrip(".").lower()
    if name and "." not in name:
        return {"podSelector": {}}
    for suffix in _INSIDE:
        if name.endswith(suffix) and name.count(".") == suffix.count(".") + 1:
            namespace = name.removesuffix(suffix).partition(".")[2]
            return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    return None


def _distinct(rules: list[port.Object]) -> list[port.Object]:
    return [each for n, each in enumerate(rules) if each not in rules[:n]]
